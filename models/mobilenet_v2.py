"""MobileNet v2 for CIFAR (Sandler et al., 2018): three strides fewer than for ImageNet."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe

# Expansion, output channels, blocks and the stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand, convolve every channel by itself, project; beside a shortcut unless strided."""

    def __init__(
        self, in_planes: int, out_planes: int, expansion: int, stride: int, recipe: Recipe
    ) -> None:
        super().__init__()
        planes = expansion * in_planes
        self.residual = stride == 1
        self.conv1 = recipe.conv(in_planes, planes, 1)
        self.bn1 = recipe.batch_norm(planes)
        self.conv2 = recipe.conv(
            planes, planes, 3, stride=stride, padding=1, groups=planes, n_iter=1
        )
        self.bn2 = recipe.batch_norm(planes)
        self.conv3 = recipe.conv(planes, out_planes, 1, block=in_planes, n_iter=1)
        self.bn3 = recipe.batch_norm(out_planes)
        self.shortcut = nn.Sequential()
        if self.residual and in_planes != out_planes:
            self.shortcut = recipe.projection(in_planes, out_planes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.residual else out


class MobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals, a 1x1 convolution and a classifier."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.conv1 = recipe.conv(3, 32, 3, padding=1, freeze=True, n_iter=10)
        self.bn1 = recipe.batch_norm(32)
        self.conv2 = recipe.conv(320, 1280, 1)
        self.bn2 = recipe.batch_norm(1280)
        blocks = []
        in_planes = 32
        for expansion, out_planes, depth, first_stride in _STAGES:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                blocks.append(InvertedResidual(in_planes, out_planes, expansion, stride, recipe))
                in_planes = out_planes
        self.layers = nn.Sequential(*blocks)
        self.linear = recipe.classifier(1280)
        self.deconv1 = recipe.channel_deconv()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(self.layers(out))))
        out = F.avg_pool2d(self.deconv1(out), 4)
        return self.linear(out.flatten(1))


def mobilenet_v2(**options: Any) -> MobileNetV2:  # noqa: ANN401
    """Builds MobileNet v2; the options are those of `Recipe`."""
    return MobileNetV2(Recipe(**options))

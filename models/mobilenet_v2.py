"""MobileNet v2 for CIFAR (Sandler et al., 2018): three strides fewer than for ImageNet."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import BottleneckBranch, Recipe

Stages = tuple[tuple[int, int, int, int], ...]
"""Expansion, output channels, blocks and the stride of the first block, stage by stage."""

_STAGES: Stages = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(BottleneckBranch):
    """Expand, convolve every channel by itself, project; beside a shortcut unless strided."""

    def __init__(
        self, in_planes: int, out_planes: int, expansion: int, stride: int, recipe: Recipe
    ) -> None:
        planes = expansion * in_planes
        super().__init__(
            in_planes,
            planes,
            out_planes,
            stride,
            recipe,
            spatial={"groups": planes, "n_iter": 1},
            last={"block": in_planes, "n_iter": 1},
        )
        self.residual = stride == 1
        self.shortcut = nn.Sequential()
        if self.residual and in_planes != out_planes:
            self.shortcut = recipe.projection(in_planes, out_planes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        out = self.branch(x)
        return out + self.shortcut(x) if self.residual else out


def inverted_residuals(
    block: type[InvertedResidual], stages: Stages, recipe: Recipe
) -> nn.Sequential:
    """Makes the blocks of a network; the first takes 32 channels."""
    blocks = []
    in_planes = 32
    for expansion, out_planes, depth, first_stride in stages:
        for index in range(depth):
            stride = first_stride if index == 0 else 1
            blocks.append(block(in_planes, out_planes, expansion, stride, recipe))
            in_planes = out_planes
    return nn.Sequential(*blocks)


class MobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals, a 1x1 convolution and a classifier."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.conv1 = recipe.stem(32)
        self.bn1 = recipe.batch_norm(32)
        self.layers = inverted_residuals(InvertedResidual, _STAGES, recipe)
        self.conv2 = recipe.conv(320, 1280, 1)
        self.bn2 = recipe.batch_norm(1280)
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

"""ResNet-18, 34 and 50 for CIFAR (He et al., 2016): a 3x3 stem that keeps the resolution."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__()
        self.conv1 = recipe.conv(in_planes, planes, 3, stride=stride, padding=1)
        self.bn1 = recipe.batch_norm(planes)
        self.conv2 = recipe.conv(planes, planes, 3, padding=1)
        self.bn2 = recipe.batch_norm(planes)
        self.shortcut = _shortcut(in_planes, planes, stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut."""

    expansion = 4

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__()
        out_planes = self.expansion * planes
        self.conv1 = recipe.conv(in_planes, planes, 1)
        self.bn1 = recipe.batch_norm(planes)
        self.conv2 = recipe.conv(planes, planes, 3, stride=stride, padding=1)
        self.bn2 = recipe.batch_norm(planes)
        self.conv3 = recipe.conv(planes, out_planes, 1)
        self.bn3 = recipe.batch_norm(out_planes)
        self.shortcut = _shortcut(in_planes, out_planes, stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, 4 planes, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, four stages and a classifier.

    Args:
        block: what the stages repeat.
        depths: how many blocks each stage has.
        recipe: what they are made of.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: tuple[int, ...], recipe: Recipe
    ) -> None:
        super().__init__()
        self.conv1 = recipe.conv(3, 64, 3, padding=1)
        self.bn1 = recipe.batch_norm(64)
        self.deconv1 = recipe.channel_deconv()
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(block, depths, recipe)
        self.linear = recipe.classifier(512 * block.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        out = F.avg_pool2d(self.deconv1(out), 4)
        return self.linear(out.flatten(1))


def _stages(
    block: type[BasicBlock | Bottleneck], depths: tuple[int, ...], recipe: Recipe
) -> Iterator[nn.Sequential]:
    in_planes = 64
    for stage, depth in enumerate(depths):
        planes = 64 * 2**stage
        blocks = []
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(block(in_planes, planes, stride, recipe))
            in_planes = planes * block.expansion
        yield nn.Sequential(*blocks)


def _shortcut(in_planes: int, out_planes: int, stride: int, recipe: Recipe) -> nn.Sequential:
    if stride == 1 and in_planes == out_planes:
        return nn.Sequential()
    return recipe.projection(in_planes, out_planes, stride)


def resnet18(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-18; the options are those of `Recipe`."""
    return ResNet(BasicBlock, (2, 2, 2, 2), Recipe(**options))


def resnet34(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-34; the options are those of `Recipe`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), Recipe(**options))


def resnet50(**options: Any) -> ResNet:  # noqa: ANN401
    """Builds ResNet-50; the options are those of `Recipe`."""
    return ResNet(Bottleneck, (3, 4, 6, 3), Recipe(**options))

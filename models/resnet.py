"""ResNet-18, 34 and 50 for CIFAR (He et al., 2016): a 3x3 stem that keeps the resolution."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import BasicBranch, BottleneckBranch, Recipe
from .staged import ResidualBlock, StagedNet, residual_stages

_WIDTHS = (64, 128, 256, 512)


class BasicBlock(BasicBranch):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__(in_planes, planes, stride, recipe)
        self.shortcut = _shortcut(in_planes, planes, stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, planes, H / stride, W / stride)."""
        return F.relu(self.branch(x) + self.shortcut(x))


class Bottleneck(BottleneckBranch):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut."""

    expansion = 4
    spatial: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of `Recipe.conv` for the 3x3 convolution."""

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        out_planes = self.expansion * planes
        super().__init__(in_planes, planes, out_planes, stride, recipe, spatial=self.spatial)
        self.shortcut = _shortcut(in_planes, out_planes, stride, recipe)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, expansion * planes, H / stride, W / stride)."""
        return F.relu(self.branch(x) + self.shortcut(x))


def _shortcut(in_planes: int, out_planes: int, stride: int, recipe: Recipe) -> nn.Sequential:
    if stride == 1 and in_planes == out_planes:
        return nn.Sequential()
    return recipe.projection(in_planes, out_planes, stride)


def resnet18(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds ResNet-18; the options are those of `Recipe`."""
    return _resnet(BasicBlock, (2, 2, 2, 2), Recipe(**options))


def resnet34(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds ResNet-34; the options are those of `Recipe`."""
    return _resnet(BasicBlock, (3, 4, 6, 3), Recipe(**options))


def resnet50(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds ResNet-50; the options are those of `Recipe`."""
    return _resnet(Bottleneck, (3, 4, 6, 3), Recipe(**options))


def _resnet(block: ResidualBlock, depths: tuple[int, ...], recipe: Recipe) -> StagedNet:
    # An ordinary convolution: this stem alone is not whitened any finer.
    stem = recipe.conv(3, 64, 3, padding=1)
    stages = residual_stages(block, _WIDTHS, depths, recipe)
    return StagedNet(stem, stages, _WIDTHS[-1] * block.expansion, recipe)

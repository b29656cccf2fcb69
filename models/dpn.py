"""DPN-92 for CIFAR (Chen et al., 2017): a residual path and a dense one side by side."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import BottleneckBranch, Recipe
from .staged import StagedNet

# Channels of the bottleneck and of the residual path, blocks, and channels a block appends.
_STAGES = (
    (96, 256, 3, 16),
    (192, 512, 4, 32),
    (384, 1024, 20, 24),
    (768, 2048, 3, 128),
)


class DualPathBlock(BottleneckBranch):
    """A bottleneck that adds to the first channels and appends the rest.

    Args:
        in_planes: channels of the input.
        planes: channels of the grouped convolution.
        residual: channels of the residual path.
        growth: channels appended to the dense path.
        stride: of the grouped convolution.
        projected: whether the shortcut changes the shape, as in the first block of a stage.
        recipe: what it is made of.
    """

    def __init__(
        self,
        in_planes: int,
        planes: int,
        residual: int,
        growth: int,
        stride: int,
        projected: bool,
        recipe: Recipe,
    ) -> None:
        out_planes = residual + growth
        super().__init__(in_planes, planes, out_planes, stride, recipe, spatial={"groups": 32})
        self.residual = residual
        self.shortcut: nn.Module = nn.Sequential()
        if projected:
            projection = recipe.projection(in_planes, out_planes, stride)
            # The official keys of the ND kind lack the sequence.
            self.shortcut = projection if recipe.norm == "bn" else projection[0]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to `growth` channels more than the shortcut has."""
        residual, dense = self.shortcut(x).tensor_split([self.residual], 1)
        added, appended = self.branch(x).tensor_split([self.residual], 1)
        return F.relu(torch.cat([residual + added, dense, appended], 1))


def dpn92(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds DPN-92; the options are those of `Recipe`."""
    recipe = Recipe(**options)
    _, residual, depth, growth = _STAGES[-1]
    features = _features(residual, depth, growth)
    return StagedNet(recipe.stem(64), _stages(recipe), features, recipe)


def _stages(recipe: Recipe) -> Iterator[nn.Sequential]:
    in_planes = 64
    for stage, (planes, residual, depth, growth) in enumerate(_STAGES):
        blocks = []
        for index in range(depth):
            first = index == 0
            stride = 2 if stage > 0 and first else 1
            blocks.append(DualPathBlock(in_planes, planes, residual, growth, stride, first, recipe))
            in_planes = _features(residual, index + 1, growth)
        yield nn.Sequential(*blocks)


def _features(residual: int, depth: int, growth: int) -> int:
    """Counts the channels after so many blocks; the first one's shortcut has `growth` as well."""
    return residual + (depth + 1) * growth

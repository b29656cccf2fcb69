"""PNASNet for CIFAR (Liu et al., 2018), of one of two kinds of cells."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe
from .staged import StagedNet

_CELLS_A_STAGE = 6


class SepConv(nn.Module):
    """A convolution of every channel by itself, into one output channel or two."""

    def __init__(
        self, in_planes: int, out_planes: int, kernel_size: int, stride: int, recipe: Recipe
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv1 = recipe.conv(
            in_planes, out_planes, kernel_size, stride=stride, padding=padding, groups=in_planes
        )
        self.bn1 = recipe.batch_norm(out_planes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        return self.bn1(self.conv1(x))


class CellA(nn.Module):
    """A separable 7x7 convolution and a max-pooling, added."""

    def __init__(self, in_planes: int, out_planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__()
        self.stride = stride
        self.sep_conv1 = SepConv(in_planes, out_planes, 7, stride, recipe)
        self.conv1: nn.Module = nn.Identity()
        self.bn1: nn.Module = nn.Identity()
        if stride != 1:
            self.conv1 = recipe.conv(in_planes, out_planes, 1)
            self.bn1 = recipe.batch_norm(out_planes)

    def pooled(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        return self.bn1(self.conv1(F.max_pool2d(x, 3, self.stride, padding=1)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        return F.relu(self.sep_conv1(x) + self.pooled(x))


class CellB(CellA):
    """Two sums, one of separable 7x7 and 3x3 convolutions, one of a pooling and a 5x5, mixed."""

    def __init__(self, in_planes: int, out_planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__(in_planes, out_planes, stride, recipe)
        self.sep_conv2 = SepConv(in_planes, out_planes, 3, stride, recipe)
        self.sep_conv3 = SepConv(in_planes, out_planes, 5, stride, recipe)
        self.conv2 = recipe.conv(2 * out_planes, out_planes, 1)
        self.bn2 = recipe.batch_norm(out_planes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, out_planes, H / stride, W / stride)."""
        left = F.relu(self.sep_conv1(x) + self.sep_conv2(x))
        right = F.relu(self.pooled(x) + self.sep_conv3(x))
        return F.relu(self.bn2(self.conv2(torch.cat([left, right], 1))))


def pnasnet_a(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds the PNASNet of the smaller cells; the options are those of `Recipe`."""
    return _pnasnet(CellA, 44, Recipe(**options))


def pnasnet_b(**options: Any) -> StagedNet:  # noqa: ANN401
    """Builds the PNASNet of the larger cells; the options are those of `Recipe`."""
    return _pnasnet(CellB, 32, Recipe(**options))


def _pnasnet(cell: type[CellA], planes: int, recipe: Recipe) -> StagedNet:
    return StagedNet(recipe.stem(planes), _stages(cell, planes, recipe), 4 * planes, recipe, pool=8)


def _stages(cell: type[CellA], planes: int, recipe: Recipe) -> Iterator[nn.Module]:
    """Yields cells that keep the shape, and between them one that halves the resolution."""
    for width in (planes, 2 * planes, 4 * planes):
        if width > planes:
            yield cell(width // 2, width, 2, recipe)
        yield nn.Sequential(*(cell(width, width, 1, recipe) for _ in range(_CELLS_A_STAGE)))

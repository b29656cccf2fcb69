"""Pre-activation ResNet-18 for CIFAR (He et al., 2016, "Identity Mappings")."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe
from .staged import StagedNet, residual_stages

WIDTHS = (64, 128, 256, 512)
"""Channels of the stages."""


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after its activation, beside a shortcut.

    A shortcut that changes the shape starts from the activated input, any other from the input.
    """

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int, recipe: Recipe) -> None:
        super().__init__()
        self.bn1 = recipe.batch_norm(in_planes)
        self.conv1 = recipe.conv(in_planes, planes, 3, stride=stride, padding=1)
        self.bn2 = recipe.batch_norm(planes)
        self.conv2 = recipe.conv(planes, planes, 3, padding=1)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_planes != planes:
            projection = recipe.conv(in_planes, planes, 1, stride=stride)
            # The official keys of the two kinds differ by this sequence of one.
            self.shortcut = nn.Sequential(projection) if recipe.norm == "bn" else projection

    def branch(self, out: Tensor) -> Tensor:
        """Maps the activated input to (N, planes, H / stride, W / stride)."""
        out = self.conv1(out)
        return self.conv2(F.relu(self.bn2(out)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, planes, H / stride, W / stride), not activated."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.branch(out) + shortcut


class PreActResNet(StagedNet):
    """A stem without an activation, stages and a classifier."""

    def stem(self, x: Tensor) -> Tensor:
        """Maps (N, 3, H, W) to (N, 64, H, W).

        The published twin has a normalisation here that it never applies.
        """
        return self.conv1(x)


def preact_resnet18(**options: Any) -> PreActResNet:  # noqa: ANN401
    """Builds the pre-activation ResNet-18; the options are those of `Recipe`."""
    recipe = Recipe(**options)
    stages = residual_stages(PreActBlock, WIDTHS, (2, 2, 2, 2), recipe)
    return PreActResNet(recipe.stem(64), stages, WIDTHS[-1], recipe)

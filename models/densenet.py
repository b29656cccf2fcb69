"""DenseNet-121 for CIFAR (Huang et al., 2017): a 3x3 stem that keeps the resolution."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe

_GROWTH = 32
_DEPTHS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, each after its activation, put before their input."""

    def __init__(self, in_planes: int, recipe: Recipe) -> None:
        super().__init__()
        self.bn1 = recipe.batch_norm(in_planes)
        self.conv1 = recipe.conv(in_planes, 4 * _GROWTH, 1)
        self.bn2 = recipe.batch_norm(4 * _GROWTH)
        self.conv2 = recipe.conv(4 * _GROWTH, _GROWTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, in_planes + 32, H, W)."""
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return torch.cat([out, x], 1)


class Transition(nn.Module):
    """A 1x1 convolution and a pooling that halve channels and resolution."""

    def __init__(self, in_planes: int, recipe: Recipe) -> None:
        super().__init__()
        self.bn = recipe.batch_norm(in_planes)
        self.conv = recipe.conv(in_planes, in_planes // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_planes, H, W) to (N, in_planes / 2, H / 2, W / 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """A stem, four dense stages with transitions between them, and a classifier.

    As published, the batch-normalised twin has no ChannelDeconv whatever the head.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        planes = 2 * _GROWTH
        self.conv1 = recipe.conv(3, planes, 3, padding=1)
        self.stages: list[str] = []
        for number, depth in enumerate(_DEPTHS, start=1):
            if number > 1:
                self._append(f"trans{number - 1}", Transition(planes, recipe))
                planes //= 2
            layers = (DenseLayer(planes + index * _GROWTH, recipe) for index in range(depth))
            self._append(f"dense{number}", nn.Sequential(*layers))
            planes += depth * _GROWTH
        self.bn = recipe.batch_norm(planes)
        self.channel_deconv: nn.Module = nn.Identity()
        if recipe.norm == "nd":
            self.channel_deconv = recipe.channel_deconv()
        self.linear = recipe.classifier(planes)

    def _append(self, key: str, stage: nn.Module) -> None:
        self.stages.append(key)
        self.add_module(key, stage)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        out = self.conv1(x)
        for stage in self.stages:
            out = getattr(self, stage)(out)
        out = self.channel_deconv(F.relu(self.bn(out)))
        return self.linear(F.avg_pool2d(out, 4).flatten(1))


def densenet121(**options: Any) -> DenseNet:  # noqa: ANN401
    """Builds DenseNet-121; the options are those of `Recipe`."""
    return DenseNet(Recipe(**options))

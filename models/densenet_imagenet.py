"""DenseNet-121 for ImageNet (Huang et al., 2017)."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .blocks import Recipe

_STEM = 64
_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH
_DEPTHS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """A bottleneck whose output is concatenated to its input."""

    def __init__(self, in_channels: int, recipe: Recipe) -> None:
        super().__init__()
        self.norm1 = recipe.batch_norm(in_channels)
        self.conv1 = recipe.conv(in_channels, _BOTTLENECK, 1)
        self.norm2 = recipe.batch_norm(_BOTTLENECK)
        self.conv2 = recipe.conv(_BOTTLENECK, _GROWTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, in_channels + 32, H, W).

        In the ND kind the first ReLU overwrites x, so that what is concatenated has gone through
        it; the networks are trained that way, and the ReLU must stay in place.
        """
        out = self.conv1(F.relu(self.norm1(x), inplace=True))
        out = self.conv2(F.relu(self.norm2(out), inplace=True))
        return torch.cat([x, out], 1)


class DenseNet(nn.Module):
    """A stem, four blocks of dense layers with transitions between them, and a classifier."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module(
            "conv0", recipe.conv(3, _STEM, 7, stride=2, padding=3, freeze=True, n_iter=15)
        )
        self.features.add_module("norm0", recipe.batch_norm(_STEM))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        channels = _STEM
        for number, depth in enumerate(_DEPTHS, start=1):
            if number > 1:
                transition = _transition(channels, recipe)
                self.features.add_module(f"transition{number - 1}", transition)
                channels //= 2
            self.features.add_module(f"denseblock{number}", _dense_block(channels, depth, recipe))
            channels += depth * _GROWTH
        self.features.add_module("norm5", _last_norm(channels, recipe))
        self.classifier = recipe.classifier(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, H, W) to logits (N, num_classes)."""
        out = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(out, 1).flatten(1))


def _dense_block(channels: int, depth: int, recipe: Recipe) -> nn.Sequential:
    layers = (DenseLayer(channels + index * _GROWTH, recipe) for index in range(depth))
    return nn.Sequential(
        OrderedDict((f"denselayer{number}", layer) for number, layer in enumerate(layers, start=1))
    )


def _transition(channels: int, recipe: Recipe) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=recipe.batch_norm(channels),
            relu=nn.ReLU(inplace=True),
            conv=recipe.conv(channels, channels // 2, 1),
            pool=nn.AvgPool2d(2),
        )
    )


def _last_norm(channels: int, recipe: Recipe) -> nn.Module:
    # Published with one or the other: a normalised network has no ChannelDeconv whatever its head.
    return recipe.batch_norm(channels) if recipe.norm == "bn" else recipe.channel_deconv()


def densenet121(**options: Any) -> DenseNet:  # noqa: ANN401
    """Builds DenseNet-121; the options are those of `Recipe`."""
    return DenseNet(Recipe(**options))

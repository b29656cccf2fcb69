"""VGG-11 and 16 for ImageNet (Simonyan and Zisserman, 2015), with three linear layers."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from . import vgg
from .blocks import Recipe

_HIDDEN = 4096


class VGG(nn.Sequential):
    """Five stages of 3x3 convolutions and a classifier: maps (N, 3, H, W) to (N, num_classes).

    Args:
        depths: how many convolutions each stage has.
        recipe: what they are made of.
    """

    def __init__(self, depths: tuple[int, ...], recipe: Recipe) -> None:
        super().__init__(
            OrderedDict(
                features=_features(depths, recipe),
                avgpool=nn.AdaptiveAvgPool2d(7),
                flatten=nn.Flatten(),
                classifier=nn.Sequential(*_classifier(recipe)),
            )
        )


def _features(depths: tuple[int, ...], recipe: Recipe) -> nn.Sequential:
    # The stages are those for CIFAR, which end in a pooling that these lack.
    small = vgg.VGG(depths, recipe).features
    return nn.Sequential(*(layer for layer in small if not isinstance(layer, nn.AvgPool2d)))


def _classifier(recipe: Recipe) -> Iterator[nn.Module]:
    hidden = replace(recipe, num_classes=_HIDDEN)
    for in_features, layer in ((512 * 7 * 7, hidden), (_HIDDEN, hidden), (_HIDDEN, recipe)):
        # Not an identity for the other heads: the keys count the layers of this sequence.
        if recipe.head == "channel_deconv":
            yield layer.channel_deconv()
        yield layer.classifier(in_features)
        if layer is hidden:
            yield nn.ReLU(inplace=True)
            yield nn.Dropout()


def vgg11(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-11; the options are those of `Recipe`."""
    return VGG((1, 1, 2, 2, 2), Recipe(**options))


def vgg16(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-16; the options are those of `Recipe`."""
    return VGG((2, 2, 3, 3, 3), Recipe(**options))

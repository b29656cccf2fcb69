"""VGG-11, 13, 16 and 19 for CIFAR (Simonyan and Zisserman, 2015), one linear layer deep."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from .blocks import Recipe

# Convolutions at 64, 128, 256, 512 and 512 channels, each stage ending in a max-pooling.
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3x3 convolutions and a classifier.

    Args:
        depths: how many convolutions each stage has.
        recipe: what they are made of.
    """

    def __init__(self, depths: tuple[int, ...], recipe: Recipe) -> None:
        super().__init__()
        self.channel_deconv = recipe.channel_deconv()
        self.features = nn.Sequential(*_layers(depths, recipe))
        self.classifier = recipe.classifier(_WIDTHS[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, 3, 32, 32) to logits (N, num_classes)."""
        x = self.channel_deconv(self.features(x))
        return self.classifier(x.flatten(1))


def _layers(depths: tuple[int, ...], recipe: Recipe) -> Iterator[nn.Module]:
    channels = 3
    for depth, width in zip(depths, _WIDTHS, strict=True):
        for _ in range(depth):
            stem = {"freeze": True, "n_iter": 15} if channels == 3 else {}
            yield recipe.conv(channels, width, 3, padding=1, bias=True, **stem)
            # Not an identity for the other kind: the keys count the layers of this sequence.
            if recipe.norm == "bn":
                yield recipe.batch_norm(width)
            yield nn.ReLU(inplace=True)
            channels = width
        yield nn.MaxPool2d(2)
    # Changes nothing, but is in the published graph, and what is exported should be that.
    yield nn.AvgPool2d(1)


def vgg11(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-11; the options are those of `Recipe`."""
    return VGG((1, 1, 2, 2, 2), Recipe(**options))


def vgg13(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-13; the options are those of `Recipe`."""
    return VGG((2, 2, 2, 2, 2), Recipe(**options))


def vgg16(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-16; the options are those of `Recipe`."""
    return VGG((2, 2, 3, 3, 3), Recipe(**options))


def vgg19(**options: Any) -> VGG:  # noqa: ANN401
    """Builds VGG-19; the options are those of `Recipe`."""
    return VGG((2, 2, 4, 4, 4), Recipe(**options))

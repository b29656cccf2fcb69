"""Which shapes the suite runs: the paper's networks' own, and a grid around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gpu.rooflines import ConvShape

if TYPE_CHECKING:
    from nd_deploy.nd.layers import FastDeconv

BLOCK = 64
CHANNELS = (64, 128, 256, 512, 1024)
SIZES = (56, 28, 14, 7)
BATCHES = (1, 8, 32)
DTYPES = ("float32", "float16")
# The sides and batches at which the must-reach figures of the dynamic layers are taken.
DYNAMIC_BATCHES = (1, 32)
IMAGE = 224


@dataclass(frozen=True)
class FrozenCase:
    """A frozen ChannelDeconv of blocks of 64.

    Attributes:
        channels: C.
        size: height and width.
        batch: N.
        dtype: of x and y, by name.
    """

    channels: int
    size: int
    batch: int
    dtype: str


@dataclass(frozen=True)
class FastDeconvCase:
    """A FastDeconv of a network, on a batch.

    Attributes:
        name: of the first layer of this shape in the network.
        layers: how many layers have it.
        eps: added to the diagonal of the covariance.
        shape: the rest, on a batch of 1.
    """

    name: str
    layers: int
    eps: float
    shape: ConvShape


def frozen_cases(quick: bool) -> list[FrozenCase]:
    """The grid; a corner of it if it has to be quick."""
    channels, sizes = (CHANNELS[::2], SIZES[::3]) if quick else (CHANNELS, SIZES)
    batches = BATCHES[-1:] if quick else BATCHES
    return [
        FrozenCase(count, size, batch, dtype)
        for dtype in DTYPES
        for batch in batches
        for size in sizes
        for count in channels
    ]


def resnet18_layers(image: int = IMAGE) -> list[FastDeconvCase]:
    """The FastDeconvs of ImageNet's ResNet-18, one for each shape, in order."""
    import torch

    from nd_deploy import models
    from nd_deploy.nd.layers import FastDeconv

    network = models.build("resnet18_imagenet").eval()
    found: list[tuple[str, FastDeconv, tuple[int, ...]]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda layer, inputs, _: found.append((name, layer, tuple(inputs[0].shape)))

    for name, module in network.named_modules():
        if isinstance(module, FastDeconv):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        network(torch.zeros(1, 3, image, image))
    return _distinct(found)


def _distinct(
    found: Sequence[tuple[str, FastDeconv, tuple[int, ...]]],
) -> list[FastDeconvCase]:
    cases: dict[ConvShape, FastDeconvCase] = {}
    for name, layer, (batch, _, height, width) in found:
        shape = shape_of(layer, batch, height, width)
        known = cases.get(shape)
        first, count = (name, 0) if known is None else (known.name, known.layers)
        cases[shape] = FastDeconvCase(first, count + 1, layer.eps, shape)
    return list(cases.values())


def shape_of(layer: FastDeconv, batch: int, height: int, width: int) -> ConvShape:
    """What a FastDeconv is on images of this size."""
    kernel, stride, padding, dilation, sampling = (
        (int(first), int(second))
        for first, second in (
            layer.kernel_size,
            layer.stride,
            cast("tuple[int, int]", layer.padding),
            layer.dilation,
            layer.sampling_stride,
        )
    )
    return ConvShape(
        batch,
        layer.in_channels,
        layer.out_channels,
        layer.groups,
        layer.block,
        height,
        width,
        kernel,
        stride,
        padding,
        dilation,
        sampling,
        layer.n_iter,
    )

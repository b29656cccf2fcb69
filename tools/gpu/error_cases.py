"""Which shapes the kernels are compared on: every path through them, and ResNet-18's layers."""

from __future__ import annotations

from dataclasses import dataclass

from gpu.cases import FastDeconvCase
from gpu.rooflines import ConvShape


@dataclass(frozen=True)
class WhiteningCase:
    """A ChannelDeconv, frozen or of the batch.

    Attributes:
        shape: of x, (N, C, ...).
        block: features a block; channels that fill none are left over.
        misaligned: whether x and y start one element behind an aligned address.
    """

    shape: tuple[int, ...]
    block: int
    misaligned: bool = False

    @property
    def left_over(self) -> bool:
        """Whether channels are left over."""
        return self.shape[1] % self.block > 0

    def __str__(self) -> str:
        place = ", misaligned" if self.misaligned else ""
        return f"{'x'.join(map(str, self.shape))}, block {self.block}{place}"


@dataclass(frozen=True)
class Cases:
    """What is compared.

    Attributes:
        frozen: frozen ChannelDeconvs.
        dynamic: ChannelDeconvs with the statistics of the batch.
        layers: FastDeconvs with the statistics of the batch, on the batches of their shapes.
    """

    frozen: tuple[WhiteningCase, ...]
    dynamic: tuple[WhiteningCase, ...]
    layers: tuple[FastDeconvCase, ...]


def _conv(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    block: int,
    *,
    batch: int = 2,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    sampling: int = 1,
) -> ConvShape:
    """A FastDeconv with as many zeros around it as keep its size."""
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    pairs = (kernel, (stride, stride), padding, (dilation, dilation), (sampling, sampling))
    return ConvShape(batch, *channels, groups, block, *size, *pairs, n_iter=5)


def _named(layers: dict[str, ConvShape]) -> tuple[FastDeconvCase, ...]:
    return tuple(FastDeconvCase(name, 1, 1e-5, shape) for name, shape in layers.items())


# Small enough for a tool that looks at every access to memory.
SMALL = Cases(
    frozen=(
        WhiteningCase((2, 64, 9, 8), 64),
        WhiteningCase((2, 77, 5, 7), 32, misaligned=True),
        WhiteningCase((1, 33, 3, 3), 16),
        WhiteningCase((2, 128, 4, 4), 128),
        WhiteningCase((3, 150), 150),
        WhiteningCase((0, 8, 3, 3), 4),
    ),
    dynamic=(
        WhiteningCase((4, 64, 7, 6), 64),
        WhiteningCase((3, 37, 5, 5), 16, misaligned=True),
        WhiteningCase((9, 72), 72),
    ),
    layers=_named(
        {
            "3x3 of 8 channels": _conv((8, 6), (9, 8), (3, 3), 4),
            "3x3 of 16 channels": _conv((16, 10), (9, 9), (3, 3), 8, sampling=2),
            "1x1": _conv((12, 6), (7, 7), (1, 1), 6, stride=2, sampling=2),
            "grouped": _conv((8, 8), (8, 8), (3, 3), 1, groups=2),
        }
    ),
)

FROZEN = (
    *SMALL.frozen,
    WhiteningCase((32, 64, 56, 56), 64),
    WhiteningCase((32, 64, 55, 55), 64, misaligned=True),
    WhiteningCase((3, 1024, 7, 7), 64),
    WhiteningCase((2, 77, 13, 9), 64),
    WhiteningCase((5, 30, 3, 3), 64),
    WhiteningCase((4, 96, 5, 7), 32),
    WhiteningCase((9, 512), 512),
    WhiteningCase((1, 7, 1, 1), 3),
)
DYNAMIC = (
    *SMALL.dynamic,
    WhiteningCase((32, 64, 56, 56), 64),
    WhiteningCase((8, 512, 7, 7), 64),
    WhiteningCase((3, 77, 13, 9), 64),
    WhiteningCase((64, 30), 8),
    WhiteningCase((6, 5, 2, 9), 64),
)
# Beside those of ResNet-18.
LAYERS = (
    *SMALL.layers,
    *_named(
        {
            "depthwise": _conv((96, 96), (28, 28), (3, 3), 1, batch=4, groups=96, sampling=3),
            "32 groups": _conv((128, 128), (28, 28), (3, 3), 4, batch=4, groups=32, sampling=3),
            "dilated": _conv((64, 32), (27, 25), (3, 3), 64, batch=4, dilation=2, sampling=3),
            "5x1 in blocks": _conv((48, 20), (19, 23), (5, 1), 16, batch=3),
        }
    ),
)

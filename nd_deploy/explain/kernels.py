"""D as kernels: what whitening makes of a single pixel.

A FastDeconv whitens patches. The whitened value of a channel's central tap is one row of D times
the patch, so that row, laid out like a patch, is a convolution kernel; D being symmetric, it is as
well D times an impulse at that tap, Cov^(-1/2) delta in the notation of the paper (Ye et al., ICLR
2020, "Network Deconvolution").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]

# Of up to this many channels, what each contributes to each is shown, else a few channels' own.
_ALL_PAIRS = 4
_OWN = 8


@dataclass(frozen=True)
class FirstConvolution:
    """The D of the first ND convolution, and how its features lie in a patch.

    Attributes:
        layer: the layer's name in the network.
        deconv: (groups, F, F), as the layer keeps it.
        channels: C, how many the layer reads.
        kernel: taps each way, (height, width); (1, length) for a signal.
    """

    layer: str
    deconv: NDArray[np.floating[Any]]
    channels: int
    kernel: tuple[int, int]

    @property
    def groups(self) -> int:
        """Groups of the convolution, each of which has a D of its own."""
        groups: int = self.deconv.shape[0]
        return groups

    @property
    def shared_by(self) -> int:
        """G, how many blocks share one D: 1 where D sees a whole patch."""
        per_group = self.channels // self.groups * self.kernel[0] * self.kernel[1]
        blocks: int = per_group // self.deconv.shape[-1]
        return blocks

    def kernels(self, channels: Sequence[int]) -> Wide:
        """What the whitened central tap of each of these channels is computed with.

        Feature f of block g is entry f G + g of a flattened (channels, taps) patch, so that a row
        of D ⊗ I_G is a kernel: where blocks share D, it is zero at every entry of other blocks. A
        grouped convolution's reads the channels of its own group alone.

        Args:
            channels: indices of channels.

        Returns:
            (len(channels), C, height, width).
        """
        taps = self.kernel[0] * self.kernel[1]
        centre = self.kernel[0] // 2 * self.kernel[1] + self.kernel[1] // 2
        per_group = self.channels // self.groups
        found = np.zeros((len(channels), self.groups, per_group * taps))
        for kernel, channel in zip(found, channels, strict=True):
            group, within = divmod(channel, per_group)
            feature, block = divmod(within * taps + centre, self.shared_by)
            row = symmetric_row(self.deconv[group], feature)
            kernel[group, block :: self.shared_by] = row
        return found.reshape(len(channels), self.channels, *self.kernel)


def shown_channels(first: FirstConvolution) -> list[int]:
    """The channels whose kernels are shown: all, or the first few of many."""
    return list(range(first.channels if shows_all_pairs(first) else min(_OWN, first.channels)))


def shows_all_pairs(first: FirstConvolution) -> bool:
    """Whether what each channel contributes to each is shown, and not each channel's own alone."""
    return first.channels <= _ALL_PAIRS


def symmetric_row(deconv: NDArray[np.floating[Any]], feature: int) -> Wide:
    """A row of D's symmetric part, (F,): rounding leaves D itself slightly asymmetric."""
    row: Wide = (deconv[feature].astype(np.float64) + deconv[:, feature]) / 2
    return row


def central_kernels(deconv: NDArray[np.floating[Any]], channels: int, size: int) -> Wide:
    """The kernels of every channel's central tap, of a D that sees whole square patches.

    Args:
        deconv: (F, F) with F = channels size^2, in the order (channel, row, column).
        channels: C.
        size: of a patch, odd.

    Returns:
        (C, C, size, size): entry [c, d] is what channel d contributes to the whitened channel c.
    """
    layer = FirstConvolution("", deconv[np.newaxis], channels, (size, size))
    return layer.kernels(range(channels))


def profile(kernel: NDArray[np.floating[Any]]) -> Wide:
    """The mean of a kernel over rings around its central tap.

    Args:
        kernel: (..., height, width).

    Returns:
        (..., R): entry r is the mean over the taps whose distance from the centre rounds to r, up
        to the shorter side's half.
    """
    height, width = kernel.shape[-2:]
    rows, columns = np.indices((height, width))
    distance = np.rint(np.hypot(rows - height // 2, columns - width // 2)).astype(int)
    rings = [kernel[..., distance == r].mean(-1) for r in range(min(height, width) // 2 + 1)]
    return np.stack(rings, -1)


@dataclass(frozen=True)
class Sums:
    """What a kernel's weights come to.

    Attributes:
        centre: the central tap of the channel itself.
        surround: the sum of the channel's other taps.
        others: the sum of all taps of the other channels.
    """

    centre: float
    surround: float
    others: float

    @property
    def whole(self) -> float:
        """The answer to an input of ones: near 0 for a kernel that answers to edges alone."""
        return self.centre + self.surround + self.others


def sums_of(kernel: NDArray[np.floating[Any]], channel: int) -> Sums:
    """Sum up the kernel (C, height, width) of one whitened channel."""
    own = kernel[channel]
    centre = float(own[own.shape[0] // 2, own.shape[1] // 2])
    others = float(np.delete(kernel, channel, 0).sum())
    return Sums(centre, float(own.sum()) - centre, others)

"""The least time that an ND operation can take on a device, and what it is made of.

A time is that of moving every byte once or of all floating point operations, whichever is longer.
Products count two operations for each multiplication; symmetry of a covariance and an identity in
the first Newton-Schulz step are not made use of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Peaks:
    """What a device can do, by its data sheet.

    Attributes:
        bytes_per_s: of its memory.
        fp32: operations a second of float32.
        tf32: the same of dense matrix products in TF32.
    """

    bytes_per_s: float
    fp32: float
    tf32: float


# By a part of the device's name, the most telling first.
_PEAKS = {
    "H200": Peaks(4.8e12, 67e12, 400e12),
    "H100 PCIe": Peaks(2.0e12, 51e12, 378e12),
    "H100": Peaks(3.35e12, 67e12, 400e12),
    "A100": Peaks(2.0e12, 19.5e12, 156e12),
    "Orin": Peaks(204.8e9, 5.3e12, 42e12),
}


def peaks_of(device: str) -> Peaks | None:
    """The peaks of a device by its name, or None if they are not known."""
    return next((peaks for part, peaks in _PEAKS.items() if part in device), None)


@dataclass(frozen=True)
class Work:
    """What an operation has to do.

    Attributes:
        bytes: read and written.
        operations: floating point ones.
    """

    bytes: float
    operations: float

    def __add__(self, other: Work) -> Work:
        return Work(self.bytes + other.bytes, self.operations + other.operations)

    def seconds(self, bytes_per_s: float, operations_per_s: float) -> float:
        """The least time it takes."""
        return max(self.bytes / bytes_per_s, self.operations / operations_per_s)


def frozen_whitening(
    batch: int, channels: int, positions: int, features: int, itemsize: int
) -> Work:
    """A frozen ChannelDeconv: x is read once, y written once, D multiplied once."""
    values = batch * channels * positions
    return Work(2 * values * itemsize, 2 * values * features)


def newton_schulz(features: int, steps: int, matrices: int = 1) -> Work:
    """Coupled Newton-Schulz: three products of (features, features) a step, in fast memory."""
    return Work(0, matrices * steps * 3 * 2 * features**3)


def covariance(samples: int, features: int, matrices: int = 1) -> Work:
    """The second moment of some samples, which are read by whoever gathers them."""
    return Work(0, matrices * 2 * samples * features**2)


@dataclass(frozen=True)
class ConvShape:
    """A FastDeconv on an image.

    Attributes:
        batch, in_channels, out_channels, groups, block: as of the layer, on so many images.
        height, width: of the input.
        kernel, stride, padding, dilation, sampling: along height and width; `sampling` is the
            distance between sampled patches.
        n_iter: Newton-Schulz steps.
    """

    batch: int
    in_channels: int
    out_channels: int
    groups: int
    block: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    sampling: tuple[int, int]
    n_iter: int

    @property
    def features(self) -> int:
        """The size of D."""
        channels = self.in_channels // self.groups if self.groups > 1 else self.block
        return math.prod(self.kernel) * channels

    @property
    def samples(self) -> int:
        """How many samples the statistics of one D are taken from."""
        if math.prod(self.kernel) == 1:
            patches = -(-self.batch * self.height * self.width // math.prod(self.sampling))
        else:
            patches = self.batch * math.prod(self.positions(self.sampling))
        return patches * (1 if self.groups > 1 else self.in_channels // self.block)

    def positions(self, stride: tuple[int, int]) -> tuple[int, int]:
        """How many places the kernel has, along height and width."""
        sizes = zip(
            (self.height, self.width), self.kernel, self.padding, self.dilation, stride, strict=True
        )
        rows, columns = (
            (size + 2 * pad - dilation * (kernel - 1) - 1) // step + 1
            for size, kernel, pad, dilation, step in sizes
        )
        return rows, columns

    def statistics(self, itemsize: int) -> Work:
        """Covariance, Newton-Schulz and folding: what NDFastDeconvDynamic does.

        x is read once, or the sampled pixels of it that a patch of their own reads.
        """
        weights = self.out_channels * self.in_channels // self.groups * math.prod(self.kernel)
        pixels = self.batch * self.in_channels * self.height * self.width
        gathered = self.samples * self.features * self.groups
        moved = min(pixels, gathered) * itemsize + weights * (4 + itemsize)
        fold = Work(moved, 2 * weights * self.features)
        return (
            covariance(self.samples, self.features, self.groups)
            + newton_schulz(self.features, self.n_iter, self.groups)
            + fold
        )

    def convolution(self, itemsize: int) -> Work:
        """The convolution with the folded weights."""
        rows, columns = self.positions(self.stride)
        per_output = self.in_channels // self.groups * math.prod(self.kernel)
        outputs = self.batch * self.out_channels * rows * columns
        inputs = self.batch * self.in_channels * self.height * self.width
        moved = (inputs + outputs + self.out_channels * per_output) * itemsize
        return Work(moved, 2 * outputs * per_output)


def dynamic_whitening(
    batch: int,
    channels: int,
    positions: int,
    features: int,
    steps: int,
    every: int,
    itemsize: int,
) -> Work:
    """A ChannelDeconv with the statistics of its batch: x is read twice, y written once."""
    samples = batch * (channels // features) * positions // every
    values = batch * channels * positions
    return (
        frozen_whitening(batch, channels, positions, features, itemsize)
        + Work(values / every * itemsize, 0)
        + covariance(samples, features)
        + newton_schulz(features, steps)
    )

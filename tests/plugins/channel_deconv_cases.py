"""Shapes that take every path through the frozen ChannelDeconv kernels, and what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from kernel_calls import float32

LEFTOVER = (0.25, 1.5)


@dataclass(frozen=True)
class Case:
    """One call; `misaligned`: x and y begin one element behind a vector's start."""

    batch: int
    channels: int
    positions: int
    block: int
    relu: bool = False
    misaligned: bool = False

    @property
    def name(self) -> str:
        sizes = f"{self.batch}x{self.channels}x{self.positions}-block{self.block}"
        return sizes + ("-relu" if self.relu else "") + ("-misaligned" if self.misaligned else "")


CASES = [
    Case(2, 128, 32, 64),  # whole vectors
    Case(2, 64, 49, 64),  # rows of an odd length: no vectors
    Case(2, 64, 32, 64, misaligned=True),
    Case(3, 70, 8, 32, relu=True),  # 6 channels left over, in vectors
    Case(3, 37, 7, 17),  # 3 channels left over
    Case(40, 64, 1, 64),  # images of one column
    Case(9, 32, 5, 16, relu=True),
    Case(2, 48, 20, 48),
    Case(1, 1, 50, 1),
    Case(2, 6, 33, 3),
    Case(1, 128, 20, 128),
    Case(1, 100, 9, 100),
    Case(1, 132, 11, 131),  # beyond tensor cores, 1 channel left over
    Case(1, 200, 3, 200),
    Case(2, 5, 8, 7, relu=True),  # the block is larger than the image: all is left over
    Case(1, 16, 4000, 16),  # more tiles than warps
]


def make(case: Case, dtype: Any, offset: float = 0.3) -> dict[str, np.ndarray]:
    """Inputs of a case: x about `offset`, and a D as whitening gives it."""
    rng = np.random.default_rng(case.channels * 1000 + case.block)
    shape = (case.batch, case.channels, case.positions)
    x = (rng.standard_normal(shape) + offset).astype(np.float32).astype(dtype)
    mean = float32(rng.standard_normal(case.block) * 0.3 + offset)
    return {"x": x, "mean": mean, "deconv": whitening(rng, case.block)}


def whitening(rng: np.random.Generator, size: int) -> np.ndarray:
    """An inverse square root of a covariance with eigenvalues over two decades."""
    basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return float32(basis * 10 ** rng.uniform(-0.5, 0.5, size) @ basis.T)


def exact(
    x: np.ndarray, mean: np.ndarray, deconv: np.ndarray, relu: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The result in float64, and the sum of |D| (|x| + |mean|) that rounding errors go with."""
    block = len(mean)
    batch, channels, positions = x.shape
    whole = channels // block * block
    y = np.empty(x.shape)
    size = np.empty(x.shape)
    wide = x.astype(np.float64)
    columns = wide[:, :whole].reshape(batch, block, -1)
    d, m = deconv.astype(np.float64), mean.astype(np.float64)[:, None]
    y[:, :whole] = (d @ (columns - m)).reshape(batch, whole, positions)
    magnitude = np.abs(d) @ (np.abs(columns) + np.abs(m))
    size[:, :whole] = magnitude.reshape(batch, whole, positions)
    y[:, whole:] = (wide[:, whole:] - LEFTOVER[0]) * LEFTOVER[1]
    size[:, whole:] = (np.abs(wide[:, whole:]) + LEFTOVER[0]) * LEFTOVER[1]
    return (np.maximum(y, 0) if relu else y), size

"""Interpolation in numpy, one axis at a time, in the ways in which PyTorch exports it to ONNX.

A map is resized by working out where each new position lies between the old ones, and reading
there. Positions are float64 whatever the map is in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
Reader = Callable[[np.ndarray, int, Positions], np.ndarray]

# ONNX's names of the ways to lay the new positions over the old ones.
LAYOUTS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")

# A quotient that is a whole number may come out a little below it, and be rounded down by one.
_DECIMALS = 9


def positions(layout: str, size: int, new_size: int, scale: float | None = None) -> Positions:
    """Where the positions of a resized axis lie on the axis before.

    Args:
        layout: one of `LAYOUTS`.
        size: entries before.
        new_size: entries after.
        scale: how much longer the axis becomes, where that is not exactly new_size / size.

    Returns:
        (new_size,), in entries; beyond the first and the last where the layout says so.
    """

    def before(new: Positions) -> Positions:
        # The product goes first, so that a whole number stays one.
        return new * size / new_size if scale is None else new / scale

    new = np.arange(new_size, dtype=np.float64)
    if layout == "align_corners":
        return new * (size - 1) / max(new_size - 1, 1)
    if layout == "asymmetric":
        return before(new)
    if layout == "pytorch_half_pixel" and new_size == 1:
        return new
    return before(new + 0.5) - 0.5


def read_linear(x: np.ndarray, axis: int, at: Positions) -> np.ndarray:
    """Interpolate between the two neighbours of each position; the ends go on unchanged.

    Args:
        x: floats.
        axis: to read along.
        at: (M,), where.

    Returns:
        x with M entries on that axis, of the same dtype.
    """
    last = x.shape[axis] - 1
    at = at.clip(0, last)
    low = np.floor(at).astype(np.intp)
    share = (at - low).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
    first = x.take(low, axis)
    y: np.ndarray = x.take(np.minimum(low + 1, last), axis)
    y -= first
    y *= share
    y += first
    return y


def read_nearest(x: np.ndarray, axis: int, at: Positions) -> np.ndarray:
    """Take the entry at or before each position.

    Args:
        x: of any dtype.
        axis: to read along.
        at: (M,), where.

    Returns:
        x with M entries on that axis.
    """
    before = np.floor(at.round(_DECIMALS)).astype(np.intp)
    y: np.ndarray = x.take(before.clip(0, x.shape[axis] - 1), axis)
    return y

"""Convolution and pooling in numpy, in the arithmetic of the arrays given and at BLAS speed.

Arrays are (batch, channels, *space), with one, two or three dimensions of space or more. Tuples
have one entry a dimension of space; pads are pairs of what stands before and behind.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
_Index = tuple[Any, ...]

# Bytes of input windows copied before each matrix product: few enough to be still in the cache.
_WINDOW_BYTES = 4 << 20
# Below as many positions an image, one product over the whole batch reads the weights only once.
_FEW_POSITIONS = 256


def convolve(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    strides: Ints,
    pads: Pads,
    dilations: Ints,
    groups: int,
) -> np.ndarray:
    """Convolve, as ONNX's Conv does.

    Args:
        x: (N, C, *S).
        w: (O, C / groups, *K), of x's dtype.
        b: (O,) of x's dtype, or None.
        strides: between windows.
        pads: zeros around x.
        dilations: between the taps of a window.
        groups: of channels.

    Returns:
        (N, O, *S'), of x's dtype.

    Raises:
        ValueError: the channels of x, w and groups disagree, or x is smaller than a window.
    """
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f"a kernel {w.shape} in {groups} groups does not fit an input {x.shape}")
    windows = _windows(_pad(x, pads, 0), w.shape[2:], strides, dilations)
    space = windows.shape[w.ndim :]
    few = math.prod(space) < _FEW_POSITIONS
    out = (_convolve_batch if few else _convolve_images)(windows, w, groups)
    if b is not None:
        out += b.reshape(-1, *(1,) * len(space))
    return out


def convolve_transposed(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    strides: Ints,
    pads: Pads,
    dilations: Ints,
    groups: int,
    output_padding: Ints,
) -> np.ndarray:
    """Convolve transposed, as ONNX's ConvTranspose does.

    Args:
        x: (N, C, *S).
        w: (C, O / groups, *K), of x's dtype.
        b: (O,) of x's dtype, or None.
        strides: between the windows of the output.
        pads: cut off the output.
        dilations: between the taps of a window.
        groups: of channels.
        output_padding: added behind the output.

    Returns:
        (N, O, *S'), of x's dtype.

    Raises:
        ValueError: the channels of x, w and groups disagree.
    """
    n, c, *size = x.shape
    per_group, *kernel = w.shape[1:]
    if w.shape[0] != c or c % groups:
        raise ValueError(f"a kernel {w.shape} in {groups} groups does not fit an input {x.shape}")
    taps = np.matmul(
        w.reshape(groups, c // groups, -1).transpose(0, 2, 1),
        x.reshape(n, groups, c // groups, -1),
    ).reshape(n, groups * per_group, *kernel, *size)
    whole = [
        (s - 1) * stride + (k - 1) * d + 1 + more
        for s, stride, k, d, more in zip(
            size, strides, kernel, dilations, output_padding, strict=True
        )
    ]
    out = np.zeros((n, groups * per_group, *whole), x.dtype)
    for tap in itertools.product(*map(range, kernel)):
        places = tuple(
            slice(t * d, t * d + (s - 1) * stride + 1, stride)
            for t, d, s, stride in zip(tap, dilations, size, strides, strict=True)
        )
        reached: _Index = (..., *places)
        seen: _Index = (slice(None), slice(None), *tap)
        out[reached] += taps[seen]
    spans = [slice(before, m - behind) for (before, behind), m in zip(pads, whole, strict=True)]
    kept: _Index = (..., *spans)
    out = out[kept]
    return out if b is None else out + b.reshape(-1, *(1,) * len(size))


def pool_max(
    x: np.ndarray, kernel: Ints, strides: Ints, pads: Pads, dilations: Ints, ceil: bool
) -> np.ndarray:
    """Take the largest value of each window, as ONNX's MaxPool does.

    Args:
        x: (N, C, *S), of floats or integers.
        kernel: size of the windows.
        strides: between windows.
        pads: around x, never the largest.
        dilations: between the taps of a window.
        ceil: whether a last window may reach beyond the pads.

    Returns:
        (N, C, *S'), of x's dtype.
    """
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    # The largest of a box is the largest along one axis, then along the next.
    for axis, window in enumerate(zip(kernel, strides, pads, dilations, strict=True), 2):
        x = functools.reduce(np.maximum, _taps(x, axis, *window, ceil, least))
    return x


def pool_average(
    x: np.ndarray,
    kernel: Ints,
    strides: Ints,
    pads: Pads,
    dilations: Ints,
    ceil: bool,
    count_pads: bool,
) -> np.ndarray:
    """Average each window, as ONNX's AveragePool does since opset 19.

    Args:
        x: (N, C, *S), of floats.
        kernel: size of the windows.
        strides: between windows.
        pads: zeros around x.
        dilations: between the taps of a window.
        ceil: whether a last window may reach beyond the pads; what is beyond never counts.
        count_pads: whether the pads count.

    Returns:
        (N, C, *S'), of x's dtype.
    """
    for axis, window in enumerate(zip(kernel, strides, pads, dilations, strict=True), 2):
        size, (k, s, (before, behind), d) = x.shape[axis], window
        x = functools.reduce(np.add, _taps(x, axis, *window, ceil, 0))
        places = np.arange(x.shape[axis])[:, None] * s + np.arange(k) * d - before
        first, end = (-before, size + behind) if count_pads else (0, size)
        counts = ((places >= first) & (places < end)).sum(axis=1, dtype=x.dtype)
        x = x / counts.reshape(-1, *(1,) * (x.ndim - axis - 1))
    return x


def _windows(x: np.ndarray, kernel: Sequence[int], strides: Ints, dilations: Ints) -> np.ndarray:
    """View (N, C, *S) as (N, C, *K, *S'): each tap at each position."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    space = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    if min(space) < 1:
        raise ValueError(f"an input of {x.shape[2:]} is smaller than a window of {tuple(reach)}")
    steps = x.strides[2:]
    return as_strided(
        x,
        (*x.shape[:2], *kernel, *space),
        (
            *x.strides[:2],
            *(step * d for step, d in zip(steps, dilations, strict=True)),
            *(step * s for step, s in zip(steps, strides, strict=True)),
        ),
        writeable=False,
    )


def _convolve_batch(windows: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """Multiply several images at a time."""
    n, space = windows.shape[0], windows.shape[w.ndim :]
    matrices = w.reshape(groups, w.shape[0] // groups, -1)
    out = np.empty((n, w.shape[0], *space), w.dtype)
    slab = max(1, _WINDOW_BYTES // (windows[0].size * w.itemsize))
    for start in range(0, n, slab):
        # The batch goes behind the taps, so that positions of all its images are columns.
        taps = np.moveaxis(windows[start : start + slab], 0, w.ndim - 1)
        product = matrices @ taps.reshape(groups, matrices.shape[2], -1)
        out[start : start + slab] = np.moveaxis(product.reshape(w.shape[0], -1, *space), 1, 0)
    return out


def _convolve_images(windows: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    """Multiply a part of the rows of one image at a time."""
    n, space = windows.shape[0], windows.shape[w.ndim :]
    matrices = w.reshape(groups, w.shape[0] // groups, -1)
    out = np.empty((n, w.shape[0], *space), w.dtype)
    products = out.reshape(n, groups, matrices.shape[1], -1)
    row = math.prod(space[1:])
    slab = max(1, _WINDOW_BYTES // (windows[0].size // space[0] * w.itemsize))
    every = (slice(None),) * (w.ndim - 1)
    for image in range(n):
        for start in range(0, space[0], slab):
            part: _Index = (image, *every, slice(start, start + slab))
            # A copy of the windows, or none at all for a 1x1 kernel.
            columns = windows[part].reshape(groups, matrices.shape[2], -1)
            place = slice(start * row, (start + slab) * row)
            np.matmul(matrices, columns, out=products[image, :, :, place])
    return out


def _taps(
    x: np.ndarray,
    axis: int,
    k: int,
    stride: int,
    pad: tuple[int, int],
    d: int,
    ceil: bool,
    fill: float,
) -> list[np.ndarray]:
    """View what each tap of a one-dimensional window sees, at all of its positions."""
    size, reach = x.shape[axis], (k - 1) * d + 1
    spare = size + sum(pad) - reach
    length = (-(-spare // stride) if ceil else spare // stride) + 1
    if ceil and (length - 1) * stride >= size + pad[0]:
        length -= 1
    if length < 1:
        raise ValueError(f"an input of {size} with pads {pad} is smaller than a window of {reach}")
    last = (length - 1) * stride + reach
    pads = [(0, 0)] * (x.ndim - 2)
    pads[axis - 2] = (pad[0], max(0, last - size - pad[0]))
    padded = _pad(x, tuple(pads), fill)
    ends = [(t * d, t * d + (length - 1) * stride + 1) for t in range(k)]
    places = [(*(slice(None),) * axis, slice(*end, stride)) for end in ends]
    return [padded[place] for place in places]


def _pad(x: np.ndarray, pads: Pads, fill: float) -> np.ndarray:
    if not any(map(any, pads)):
        return x
    shape = [n + before + behind for n, (before, behind) in zip(x.shape[2:], pads, strict=True)]
    padded = np.full((*x.shape[:2], *shape), fill, x.dtype)
    spans = [slice(before, before + n) for n, (before, _) in zip(x.shape[2:], pads, strict=True)]
    inside: _Index = (..., *spans)
    padded[inside] = x
    return padded

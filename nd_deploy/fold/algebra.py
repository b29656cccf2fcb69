"""Folding D and its mean into linear layers: the identities, as pure functions on arrays.

Notation follows the paper (Ye et al., ICLR 2020): D = (Cov + eps I)^(-1/2) is the deconvolution
matrix of a block of F features, mu its mean. How a block lies in the flattened weight differs by
layer, and confusing the two orders gives wrong numbers without an error:

* FastDeconv and ChannelDeconv use D ⊗ I_G: feature f of block g is entry f·G + g (strided);
* Delinear uses I_G ⊗ D: feature f of block g is entry g·F + f (contiguous).

D is symmetric only up to rounding, so it is never transposed or symmetrised here. Arguments may be
of any float dtype; everything is computed in float64. Weights are worked on a few rows at a time,
so that beside a result there is little more in memory than the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Wide = NDArray[np.float64]

# Entries of a weight that are worked on at once: 2 MiB in float64.
_CHUNK = 2**18


def row_chunks(weight: Array) -> Iterator[slice]:
    """Slices along axis 0 that cover `weight` and hold few enough entries to be copied."""
    rows = max(1, _CHUNK // max(1, weight[0].size))
    for start in range(0, weight.shape[0], rows):
        yield slice(start, start + rows)


def fold_fast_deconv(
    weight: Array, bias: Array | None, mean: Array, deconv: Array
) -> tuple[Wide, Wide]:
    """Fold D of a FastDeconv into its own convolution: W' = W (D ⊗ I_G), b' = b - W' mu.

    The layer whitens the patches it convolves, zero padding included, so the identity holds at the
    border too, for any stride, padding and dilation.

    Args:
        weight: (O, C/groups, *kernel).
        bias: (O,), or None for none.
        mean: (groups, F).
        deconv: (groups, F, F), where F divides C/groups times the kernel's size.

    Returns:
        The folded weight, in the shape of `weight`, and bias (O,).
    """
    groups, features, _ = deconv.shape
    mean, deconv = wide(mean), wide(deconv)
    folded = np.empty(weight.shape)
    if groups == 1:
        for rows in row_chunks(weight):
            chunk = weight[rows].reshape(-1, features, weight[0].size // features)
            folded[rows] = multiply_features(chunk, deconv[0]).reshape(weight[rows].shape)
    else:
        per_feature = weight.reshape(groups, weight.shape[0] // groups, features, -1)
        folded[:] = multiply_features(per_feature, deconv).reshape(weight.shape)
    per_group = folded.reshape(groups, weight.shape[0] // groups, features, -1)
    correction = np.einsum("gofs,gf->go", per_group, mean).reshape(-1)
    return folded, minus(bias, correction)


def fold_fast_deconv_transpose(
    weight: Array, bias: Array | None, mean: Array, deconv: Array
) -> tuple[Wide, Wide]:
    """Fold D into a transposed convolution: W' = flip(flip(W) (D ⊗ I_G)), b' = b - flip(W') mu.

    ND++ whitens each input's kernel with the taps in the order of a plain convolution, and
    corrects the bias of output c by the row of input c, so there are as many of both.

    Args:
        weight: (C, C, kh, kw).
        bias: (C,), or None for none.
        mean: (F,).
        deconv: (F, F), where F divides C kh kw.

    Returns:
        The folded weight, in the shape of `weight`, and bias (C,).
    """
    flipped, folded_bias = fold_fast_deconv(
        weight[:, :, ::-1, ::-1], bias, mean[None], deconv[None]
    )
    return np.ascontiguousarray(flipped[:, :, ::-1, ::-1]), folded_bias


def fold_delinear(
    weight: Array, bias: Array | None, mean: Array, deconv: Array
) -> tuple[Wide, Wide]:
    """Fold D of a Delinear into its own linear layer: W' = W (I_G ⊗ D), b' = b - W' mu.

    Args:
        weight: (O, I).
        bias: (O,), or None for none.
        mean: (F,).
        deconv: (F, F), where F divides I.

    Returns:
        The folded weight (O, I) and bias (O,).
    """
    mean, deconv = wide(mean), wide(deconv)
    folded = np.empty(weight.shape)
    for rows in row_chunks(weight):
        chunk = weight[rows].reshape(-1, deconv.shape[0])
        folded[rows] = (chunk @ deconv).reshape(weight[rows].shape)
    blocks = folded.reshape(weight.shape[0], -1, deconv.shape[0])
    return folded, minus(bias, np.einsum("ogf,f->o", blocks, mean))


def fold_batch_norm(
    weight: Array,
    bias: Array | None,
    scale: Array,
    shift: Array,
    mean: Array,
    var: Array,
    eps: float,
) -> tuple[Wide, Wide]:
    """Fold y = scale (x - mean) / sqrt(var + eps) + shift into the layer that produces x.

    Args:
        weight: (C, ...), the producer's weight with its outputs on axis 0.
        bias: (C,), or None for none.
        scale: gamma of the normalisation, (C,), as are `shift`, `mean` and `var`.
        shift: beta.
        mean: running mean.
        var: running variance.
        eps: the normalisation's epsilon.

    Returns:
        The folded weight, in the shape of `weight`, and bias (C,).
    """
    gain: Wide = wide(scale) / np.sqrt(wide(var) + eps)
    folded: Wide = wide(weight) * gain.reshape(-1, *([1] * (weight.ndim - 1)))
    folded_bias: Wide = minus(bias, wide(mean)) * gain + wide(shift)
    return folded, folded_bias


def invert(deconv: Array) -> Wide:
    """D^-1 over leading axes, to the precision of D's own dtype; NaN where one has no inverse."""
    try:
        return wide(np.linalg.inv(deconv))
    except np.linalg.LinAlgError:
        return np.full(deconv.shape, np.nan)


def multiply_features(per_feature: Array, deconv: Wide) -> Wide:
    """sum_f' A[..., o, f', s] D[..., f', f], as one matrix product a block.

    Args:
        per_feature: (..., O, F, S).
        deconv: (..., F, F).
    """
    last = np.ascontiguousarray(np.swapaxes(per_feature, -1, -2))
    rows = last.reshape(*last.shape[:-3], -1, last.shape[-1]) @ deconv
    return np.swapaxes(rows.reshape(last.shape), -1, -2)


def minus(bias: Array | None, correction: Wide) -> Wide:
    """The bias, zeros for None, less a correction, float64."""
    return -correction if bias is None else wide(bias) - correction


def wide(array: Array, copy: bool = False) -> Wide:
    """The array in float64; itself if it is so already, unless `copy`."""
    return array.astype(np.float64, copy=copy)

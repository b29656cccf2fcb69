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
from dataclasses import dataclass

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
    mean, deconv = _wide(mean), _wide(deconv)
    folded = np.empty(weight.shape)
    if groups == 1:
        for rows in row_chunks(weight):
            chunk = weight[rows].reshape(-1, features, weight[0].size // features)
            folded[rows] = _multiply_features(chunk, deconv[0]).reshape(weight[rows].shape)
    else:
        per_feature = weight.reshape(groups, weight.shape[0] // groups, features, -1)
        folded[:] = _multiply_features(per_feature, deconv).reshape(weight.shape)
    per_group = folded.reshape(groups, weight.shape[0] // groups, features, -1)
    correction = np.einsum("gofs,gf->go", per_group, mean).reshape(-1)
    return folded, _minus(bias, correction)


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
    mean, deconv = _wide(mean), _wide(deconv)
    folded = np.empty(weight.shape)
    for rows in row_chunks(weight):
        chunk = weight[rows].reshape(-1, deconv.shape[0])
        folded[rows] = (chunk @ deconv).reshape(weight[rows].shape)
    blocks = folded.reshape(weight.shape[0], -1, deconv.shape[0])
    return folded, _minus(bias, np.einsum("ogf,f->o", blocks, mean))


@dataclass(frozen=True)
class ChannelMap:
    """The affine map of a ChannelDeconv in eval on C channels: y = M (x - m).

    M is blockdiag(D ⊗ I_G, s I) with G = floor(C / F): the first G·F channels are whitened, and
    what is left over is scaled by s = 1 / sqrt(var + eps). M is never formed unless asked for: on
    a flattened feature map C reaches 25088.

    Attributes:
        deconv: D, (F, F).
        mean: mu, (F,).
        channels: C.
        leftover_mean: the mean shared by all leftover channels.
        leftover_scale: s, shared by all leftover channels.
    """

    deconv: Array
    mean: Array
    channels: int
    leftover_mean: float = 0.0
    leftover_scale: float = 1.0

    @property
    def whitened(self) -> int:
        """How many channels D acts on; the others are left over."""
        features: int = self.deconv.shape[0]
        return self.channels // features * features

    def centre(self) -> Wide:
        """The mean m that is subtracted, one value a channel: (C,)."""
        groups = self.channels // self.deconv.shape[0]
        leftover = np.full(self.channels - self.whitened, self.leftover_mean)
        return np.concatenate([np.repeat(_wide(self.mean), groups), leftover])

    def offset(self) -> Wide:
        """The constant part of the map, v = -M m: (C,)."""
        return -self.left(self.centre())

    def right(self, weight: Array) -> Wide:
        """Weight times M along axis 1: (O, C, ...) to (O, C, ...)."""
        return self._blocks(weight, self.deconv)

    def left(self, weight: Array) -> Wide:
        """M times weight along axis 0: (C, ...) to (C, ...)."""
        left: Wide = self._blocks(weight[None], self.deconv.T)[0]
        return left

    def matrix(self) -> Wide:
        """M itself: (C, C)."""
        return self.right(np.eye(self.channels))

    def inverse(self) -> ChannelMap:
        """The map with M^-1 for M and no mean, for undoing a fold of the matrix."""
        return ChannelMap(
            invert(self.deconv),
            np.zeros(len(self.mean)),
            self.channels,
            0.0,
            1.0 / self.leftover_scale,
        )

    def _blocks(self, array: Array, deconv: Array) -> Wide:
        deconv, features, whitened = _wide(deconv), self.deconv.shape[0], self.whitened
        result = np.empty(array.shape)
        result[:, whitened:] = _wide(array[:, whitened:]) * self.leftover_scale
        for rows in row_chunks(array) if whitened else ():
            head = array[rows, :whitened]
            per_feature = head.reshape(head.shape[0], features, -1)
            result[rows, :whitened] = _multiply_features(per_feature, deconv).reshape(head.shape)
        return result


def fold_forward(
    weight: Array, bias: Array | None, channel_map: ChannelMap, start: int = 0, inner: int = 1
) -> tuple[Wide, Wide]:
    """Fold y = M (x - m) into the linear layer that reads y: W' = W M, b' = b - W' m.

    Exact where every tap of the weight reads a real position; a zero-padded convolution must keep
    the subtraction instead (`fold_matrix_forward`).

    Args:
        weight: (O, entries, ...): axis 1 holds the channels, the axes after it the taps.
        bias: (O,), or None for none.
        channel_map: the map on entries [start, start + channel_map.channels * inner) of axis 1.
        start: first entry that the map acts on, as after a concatenation.
        inner: consecutive entries that are positions of one channel, as after flattening.

    Returns:
        The folded weight, in the shape of `weight`, and bias (O,).
    """
    folded = fold_matrix_forward(weight, channel_map, start, inner)
    read = _of_channels(folded, channel_map, start, inner)
    return folded, _minus(bias, np.einsum("oct,c->o", read, channel_map.centre()))


def fold_matrix_forward(
    weight: Array, channel_map: ChannelMap, start: int = 0, inner: int = 1
) -> Wide:
    """W' = W M alone, for a convolution that reads the centred x - m; see `fold_forward`.

    With the subtraction kept in front, conv(M (x - m)) = conv'(x - m) holds under zero padding
    too, because the zeros are then added to the centred tensor in both forms.
    """
    stop = start + channel_map.channels * inner
    read = channel_map.right(_of_channels(weight, channel_map, start, inner))
    folded = _wide(weight, copy=True)
    folded[:, start:stop] = read.reshape(folded[:, start:stop].shape)
    return folded


def fold_backward(weight: Array, bias: Array | None, channel_map: ChannelMap) -> tuple[Wide, Wide]:
    """Fold y = M (x - m) into the linear layer that produces x: W' = M W, b' = M (b - m).

    Exact for any padding, since M acts on each output position by itself.

    Args:
        weight: (C, ...): axis 0 holds the layer's outputs, which are the channels of x.
        bias: (C,), or None for none.
        channel_map: the map on those channels.

    Returns:
        The folded weight, in the shape of `weight`, and bias (C,).
    """
    centred = _minus(bias, channel_map.centre())
    return channel_map.left(weight), channel_map.left(centred)


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
    gain: Wide = _wide(scale) / np.sqrt(_wide(var) + eps)
    folded: Wide = _wide(weight) * gain.reshape(-1, *([1] * (weight.ndim - 1)))
    folded_bias: Wide = _minus(bias, _wide(mean)) * gain + _wide(shift)
    return folded, folded_bias


def invert(deconv: Array) -> Wide:
    """D^-1 over leading axes, to the precision of D's own dtype; NaN where one has no inverse."""
    try:
        return _wide(np.linalg.inv(deconv))
    except np.linalg.LinAlgError:
        return np.full(deconv.shape, np.nan)


def _of_channels(weight: Array, channel_map: ChannelMap, start: int, inner: int) -> Array:
    """The part of axis 1 that a map acts on, as (O, channels, positions and taps)."""
    read = weight[:, start : start + channel_map.channels * inner]
    return read.reshape(weight.shape[0], channel_map.channels, -1)


def _multiply_features(per_feature: Array, deconv: Wide) -> Wide:
    """sum_f' A[..., o, f', s] D[..., f', f], as one matrix product a block.

    Args:
        per_feature: (..., O, F, S).
        deconv: (..., F, F).
    """
    last = np.ascontiguousarray(np.swapaxes(per_feature, -1, -2))
    rows = last.reshape(*last.shape[:-3], -1, last.shape[-1]) @ deconv
    return np.swapaxes(rows.reshape(last.shape), -1, -2)


def _minus(bias: Array | None, correction: Wide) -> Wide:
    return -correction if bias is None else _wide(bias) - correction


def _wide(array: Array, copy: bool = False) -> Wide:
    return array.astype(np.float64, copy=copy)

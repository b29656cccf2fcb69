"""Folding the affine map of a ChannelDeconv into the linear layers around it.

Notation and conventions are those of `nd_deploy.fold.algebra`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nd_deploy.fold.algebra import Array, Wide, invert, minus, multiply_features, row_chunks, wide


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
        return np.concatenate([np.repeat(wide(self.mean), groups), leftover])

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
        deconv, features, whitened = wide(deconv), self.deconv.shape[0], self.whitened
        result = np.empty(array.shape)
        result[:, whitened:] = wide(array[:, whitened:]) * self.leftover_scale
        for rows in row_chunks(array) if whitened else ():
            head = array[rows, :whitened]
            per_feature = head.reshape(head.shape[0], features, -1)
            result[rows, :whitened] = multiply_features(per_feature, deconv).reshape(head.shape)
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
    return folded, minus(bias, np.einsum("oct,c->o", read, channel_map.centre()))


def fold_matrix_forward(
    weight: Array, channel_map: ChannelMap, start: int = 0, inner: int = 1
) -> Wide:
    """W' = W M alone, for a convolution that reads the centred x - m; see `fold_forward`.

    With the subtraction kept in front, conv(M (x - m)) = conv'(x - m) holds under zero padding
    too, because the zeros are then added to the centred tensor in both forms.
    """
    stop = start + channel_map.channels * inner
    read = channel_map.right(_of_channels(weight, channel_map, start, inner))
    folded = wide(weight, copy=True)
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
    centred = minus(bias, channel_map.centre())
    return channel_map.left(weight), channel_map.left(centred)


def fold_shift_forward(
    weight: Array, bias: Array | None, shift: Array, start: int = 0, inner: int = 1
) -> Wide:
    """Fold y = x + s into the linear layer that reads y: b' = b + W s, with W as it is.

    Exact where every tap of the weight reads a real position.

    Args:
        weight: (O, entries, ...).
        bias: (O,), or None for none.
        shift: s, one value a channel.
        start: first entry of axis 1 that is shifted.
        inner: consecutive entries that are positions of one channel.

    Returns:
        The folded bias, (O,).
    """
    read = weight[:, start : start + len(shift) * inner]
    per_channel = read.reshape(weight.shape[0], len(shift), -1)
    return minus(bias, np.einsum("oct,c->o", wide(per_channel), -wide(shift)))


def _of_channels(weight: Array, channel_map: ChannelMap, start: int, inner: int) -> Array:
    """The part of axis 1 that a map acts on, as (O, channels, positions and taps)."""
    read = weight[:, start : start + channel_map.channels * inner]
    return read.reshape(weight.shape[0], channel_map.channels, -1)

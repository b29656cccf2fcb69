"""The affine map of a ChannelDeconv, and its fold into the layers before and behind it."""

import numpy as np
import pytest
from dense import PROFILE, channel_matrix, channel_mean, close, conv, normal, per_channel
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.fold.channels import (
    ChannelMap,
    fold_backward,
    fold_forward,
    fold_matrix_forward,
    fold_shift_forward,
)

seeds = st.integers(0, 2**32 - 1)


@st.composite
def maps(draw, max_channels=9):
    """A map with its dense matrix and mean; some blocks are larger than the channels."""
    features, channels = draw(st.integers(1, 5)), draw(st.integers(1, max_channels))
    seed = draw(seeds)
    D, mu = normal(seed, features, features), normal(seed + 1, features)
    mean, scale = draw(st.sampled_from([(0.0, 1.0), (0.3, 2.5), (-1.5, 0.4)]))
    dense = channel_matrix(D, channels, scale), channel_mean(mu, channels, mean)
    return ChannelMap(D, mu, channels, mean, scale), *dense


@PROFILE
@given(maps(), st.integers(1, 3), st.integers(1, 3))
def test_the_map_multiplies_as_its_dense_matrix_does(drawn, rows, taps):
    channel_map, M, m = drawn
    channels = channel_map.channels
    close(channel_map.matrix(), M)
    close(channel_map.centre(), m)
    close(channel_map.offset(), -M @ m)
    weight = normal(0, rows, channels, taps)
    close(channel_map.right(weight), np.einsum("oct,cd->odt", weight, M))
    weight = normal(1, channels, rows, taps)
    close(channel_map.left(weight), np.einsum("dc,cot->dot", M, weight))


@PROFILE
@given(maps())
def test_the_inverse_undoes_the_matrix_and_has_no_mean(drawn):
    channel_map, M, _ = drawn
    inverse = channel_map.inverse()
    error = np.abs(inverse.matrix() @ M - np.eye(len(M))).max()
    assert error <= 1e-12 * np.linalg.cond(M)
    assert not inverse.centre().any()


def test_a_block_larger_than_the_channels_never_reads_d():
    """Checkpoints hold NaN there, since training never had a covariance."""
    unread = np.full((4, 4), np.nan)
    channel_map = ChannelMap(unread, unread[0], 3, 0.5, 2.0)
    assert channel_map.whitened == 0
    close(channel_map.matrix(), 2 * np.eye(3))
    close(channel_map.centre(), np.full(3, 0.5))
    close(channel_map.inverse().matrix(), np.eye(3) / 2)


@PROFILE
@given(maps(), st.integers(0, 3), st.integers(1, 3), st.integers(0, 3), st.booleans())
def test_forward_folds_a_window_of_the_inputs(drawn, start, inner, behind, biased):
    channel_map, M, m = drawn
    window = len(m) * inner
    weight = normal(0, 2, start + window + behind, 2)
    bias = normal(1, 2) if biased else None
    everything = np.eye(start + window + behind)
    everything[start : start + window, start : start + window] = np.kron(M, np.eye(inner))
    means = np.zeros(start + window + behind)
    means[start : start + window] = np.kron(m, np.ones(inner))
    expected = np.einsum("oct,cd->odt", weight, everything)
    folded, offset = fold_forward(weight, bias, channel_map, start, inner)
    close(folded, expected)
    close(offset, (bias if biased else 0) - np.einsum("oct,c->o", expected, means))
    close(fold_matrix_forward(weight, channel_map, start, inner), expected)


@PROFILE
@given(maps(), st.integers(1, 2), st.integers(1, 2))
def test_an_unpadded_convolution_takes_the_map_with_its_mean(drawn, stride, dilation):
    channel_map, M, m = drawn
    x, weight, bias = normal(0, 2, len(m), 6, 7), normal(1, 3, len(m), 3, 2), normal(2, 3)
    geometry = {"stride": stride, "dilation": dilation}
    expected = conv(per_channel(x, M, m), weight, bias, **geometry)
    close(conv(x, *fold_forward(weight, bias, channel_map), **geometry), expected)


@PROFILE
@given(maps(), st.integers(1, 2))
def test_a_zero_padded_convolution_takes_the_matrix_behind_the_centred_input(drawn, padding):
    channel_map, M, m = drawn
    x, weight, bias = normal(0, 2, len(m), 5, 4), normal(1, 3, len(m), 3, 3), normal(2, 3)
    expected = conv(per_channel(x, M, m), weight, bias, padding=padding)
    centred = x - m[:, None, None]
    folded = fold_matrix_forward(weight, channel_map)
    close(conv(centred, folded, bias, padding=padding), expected)


def test_the_mean_in_the_bias_would_be_wrong_at_a_zero_padded_border():
    D, mu = normal(0, 2, 2), normal(1, 2) + 2
    x, weight, bias = normal(2, 1, 4, 5, 5), normal(3, 3, 4, 3, 3), normal(4, 3)
    M, m = channel_matrix(D, 4), channel_mean(mu, 4)
    expected = conv(per_channel(x, M, m), weight, bias, padding=1)
    naive = conv(x, *fold_forward(weight, bias, ChannelMap(D, mu, 4)), padding=1)
    error = np.abs(naive - expected)
    assert error[..., 1:-1, 1:-1].max() < 1e-12
    assert error.max() > 0.1 * np.abs(expected).max()


@PROFILE
@given(maps(), st.integers(0, 2), st.booleans())
def test_backward_folds_into_the_convolution_in_front_whatever_its_padding(drawn, padding, biased):
    channel_map, M, m = drawn
    x, weight = normal(0, 2, 3, 5, 4), normal(1, len(m), 3, 3, 3)
    bias = normal(2, len(m)) if biased else None
    expected = per_channel(conv(x, weight, bias, padding=padding), M, m)
    close(conv(x, *fold_backward(weight, bias, channel_map), padding=padding), expected)


@PROFILE
@given(maps(), st.floats(-3, 3), st.floats(-3, 3))
def test_folds_are_linear_in_the_layer(drawn, a, b):
    channel_map, M, m = drawn
    one, two = normal(0, 2, len(m)), normal(1, 2, len(m))
    folded, offset = fold_forward(a * one + b * two, np.zeros(2), channel_map)
    close(folded, a * (one @ M) + b * (two @ M))
    close(offset, -(a * (one @ M) + b * (two @ M)) @ m)


@PROFILE
@given(maps(max_channels=6), seeds)
def test_two_maps_in_a_row_fold_one_after_the_other(drawn, seed):
    """The last map is folded first, from either side."""
    first, M, m = drawn
    features = max(1, len(m) // 2)
    D, mu = normal(seed, features, features), normal(seed + 1, features)
    second = ChannelMap(D, mu, len(m), 0.2, 1.5)
    M2, m2 = channel_matrix(D, len(m), 1.5), channel_mean(mu, len(m), 0.2)
    x, weight, bias = normal(0, 4, len(m)), normal(1, 3, len(m)), normal(2, 3)
    expected = per_channel(per_channel(x, M, m), M2, m2) @ weight.T + bias
    folded, offset = fold_forward(*fold_forward(weight, bias, second), first)
    close(x @ folded.T + offset, expected)

    weight, bias = normal(3, len(m), 3), normal(4, len(m))
    x = normal(5, 4, 3)
    expected = per_channel(per_channel(x @ weight.T + bias, M, m), M2, m2)
    folded, offset = fold_backward(*fold_backward(weight, bias, first), second)
    close(x @ folded.T + offset, expected)


def test_weights_too_large_to_be_worked_on_at_once_fold_the_same():
    D, mu, weight = normal(0, 4, 4), normal(1, 4), normal(2, 300, 1026)
    channel_map = ChannelMap(D, mu, 1026, 0.5, 3.0)
    M, m = channel_matrix(D, 1026, 3.0), channel_mean(mu, 1026, 0.5)
    folded, offset = fold_forward(weight, None, channel_map)
    close(folded, weight @ M)
    close(offset, -weight @ M @ m)
    close(channel_map.left(weight.T), M @ weight.T)


@pytest.mark.parametrize("fold", [fold_forward, fold_backward])
def test_float32_arguments_are_folded_in_float64_and_left_as_they_are(fold):
    D, mu, weight, bias = (
        normal(seed, *shape).astype(np.float32)
        for seed, shape in enumerate([(2, 2), (2,), (4, 4), (4,)])
    )
    before = weight.copy()
    folded, offset = fold(weight, bias, ChannelMap(D, mu, 4))
    M = channel_matrix(D.astype(np.float64), 4)
    m = channel_mean(mu.astype(np.float64), 4)
    wide = before.astype(np.float64)
    forward = fold is fold_forward
    close(folded, wide @ M if forward else M @ wide)
    close(offset, bias - wide @ M @ m if forward else M @ (bias - m))
    assert np.array_equal(weight, before)


@PROFILE
@given(seeds, st.integers(1, 4), st.integers(0, 2), st.integers(1, 3), st.booleans())
def test_a_shift_of_the_channels_goes_into_the_bias_of_what_reads_them(
    seed, channels, start, inner, biased
):
    entries = start + channels * inner + 1
    weight, shift = normal(seed, 3, entries), normal(1, channels)
    bias = normal(2, 3) if biased else None
    x, shifted = normal(3, 5, entries), normal(3, 5, entries)
    shifted[:, start : start + channels * inner] += np.repeat(shift, inner)
    folded = fold_shift_forward(weight, bias, shift, start, inner)
    close(x @ weight.T + folded, shifted @ weight.T + (bias if biased else 0))

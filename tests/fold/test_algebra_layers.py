"""D and batch normalisation folded into the layer that they belong to."""

import numpy as np
import pytest
import torch
from dense import PROFILE, close, conv, normal
from hypothesis import given
from hypothesis import strategies as st

from nd_deploy.fold.algebra import (
    fold_batch_norm,
    fold_delinear,
    fold_fast_deconv,
    fold_fast_deconv_transpose,
)

small, seeds = st.integers(1, 4), st.integers(0, 2**32 - 1)


@PROFILE
@given(seeds, small, small, small, small, st.booleans())
def test_fast_deconv_multiplies_strided_blocks_by_d(seed, outputs, channels, kernel, share, biased):
    entries = channels * kernel**2
    features = entries // np.gcd(entries, share)
    weight, D = normal(seed, outputs, channels, kernel, kernel), normal(1, 1, features, features)
    mu, bias = normal(2, 1, features), normal(3, outputs) if biased else None
    folded, offset = fold_fast_deconv(weight, bias, mu, D)
    blocks = entries // features
    expected = weight.reshape(outputs, -1) @ np.kron(D[0], np.eye(blocks))
    close(folded, expected.reshape(weight.shape))
    close(offset, (bias if biased else 0) - expected @ np.kron(mu[0], np.ones(blocks)))


@PROFILE
@given(seeds, st.integers(2, 4), small, small, st.sampled_from([1, 2]))
def test_each_group_of_a_grouped_fast_deconv_has_its_own_d(seed, groups, outputs, entries, share):
    features = entries
    weight = normal(seed, groups * outputs, entries * share, 1)
    D, mu = normal(1, groups, features, features), normal(2, groups, features)
    bias = normal(3, groups * outputs)
    folded, offset = fold_fast_deconv(weight, bias, mu, D)
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        expected = weight[rows, :, 0] @ np.kron(D[g], np.eye(share))
        close(folded[rows, :, 0], expected)
        close(offset[rows], bias[rows] - expected @ np.kron(mu[g], np.ones(share)))


@PROFILE
@given(
    seed=seeds,
    groups=st.sampled_from([1, 2]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
def test_a_convolution_of_whitened_patches_is_one_convolution_border_included(
    seed, groups, stride, padding, dilation
):
    """Zeros of the padding are whitened like any other entry of a patch."""
    channels, outputs, features = 4, 6, 4 * 9 // (2 if groups == 1 else groups)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    x = normal(seed, 2, channels, 7, 6) + 1
    weight, bias = normal(1, outputs, channels // groups, 3, 3), normal(2, outputs)
    D, mu = normal(3, groups, features, features), normal(4, groups, features)

    patches = torch.nn.functional.unfold(torch.from_numpy(x), (3, 3), **geometry).numpy()
    rows = patches.reshape(2, groups, -1, patches.shape[-1])
    shared = rows.shape[2] // features
    layers = []
    for g, w in enumerate(weight.reshape(groups, outputs // groups, -1)):
        centred = rows[:, g] - np.kron(mu[g], np.ones(shared))[:, None]
        layers.append(w @ np.kron(D[g], np.eye(shared)) @ centred)
    expected = np.concatenate(layers, axis=1) + bias[:, None]

    found = conv(x, *fold_fast_deconv(weight, bias, mu, D), **geometry, groups=groups)
    close(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("kernel", [(3,), (2, 1, 2)])
def test_fast_deconv_folds_in_one_and_three_dimensions(kernel):
    weight, features = normal(0, 5, 4, *kernel), 2 * int(np.prod(kernel))
    D, mu = normal(1, 1, features, features), normal(2, 1, features)
    folded, offset = fold_fast_deconv(weight, None, mu, D)
    expected = weight.reshape(5, -1) @ np.kron(D[0], np.eye(2))
    close(folded, expected.reshape(weight.shape))
    close(offset, -expected @ np.kron(mu[0], np.ones(2)))


@PROFILE
@given(seeds, small, small, small, st.booleans())
def test_delinear_multiplies_contiguous_blocks_by_d(seed, outputs, features, blocks, biased):
    weight, D = normal(seed, outputs, features * blocks), normal(1, features, features)
    mu, bias = normal(2, features), normal(3, outputs) if biased else None
    folded, offset = fold_delinear(weight, bias, mu, D)
    expected = weight @ np.kron(np.eye(blocks), D)
    close(folded, expected)
    close(offset, (bias if biased else 0) - expected @ np.kron(np.ones(blocks), mu))


def test_the_two_orders_of_blocks_differ():
    """So a mix-up of the layers cannot pass the tests above by chance."""
    weight, D, mu = normal(0, 3, 6), normal(1, 2, 2), normal(2, 2)
    strided, _ = fold_fast_deconv(weight, None, mu[None], D[None])
    contiguous, _ = fold_delinear(weight, None, mu, D)
    assert np.abs(strided - contiguous).max() > 0.1


def test_weights_too_large_to_be_worked_on_at_once_fold_the_same():
    weight, D, mu = normal(0, 520, 1024), normal(1, 4, 4), normal(2, 4)
    expected = weight @ np.kron(D, np.eye(256))
    folded, offset = fold_fast_deconv(weight[..., None], None, mu[None], D[None])
    close(folded[..., 0], expected)
    close(offset, -expected @ np.kron(mu, np.ones(256)))
    expected = weight @ np.kron(np.eye(256), D)
    folded, offset = fold_delinear(weight, None, mu, D)
    close(folded, expected)
    close(offset, -expected @ np.kron(np.ones(256), mu))


@pytest.mark.parametrize("fold", [fold_fast_deconv, fold_delinear])
def test_float32_arguments_are_folded_in_float64_and_left_as_they_are(fold):
    stacked = (1,) if fold is fold_fast_deconv else ()
    arguments = [normal(0, 3, 4), normal(1, 3), normal(2, *stacked, 4), normal(3, *stacked, 4, 4)]
    arguments = [array.astype(np.float32) for array in arguments]
    before = [array.copy() for array in arguments]
    folded, offset = fold(*arguments)
    weight, bias, mu, D = (array.astype(np.float64) for array in before)
    close(folded, weight @ D.reshape(4, 4))
    close(offset, bias - weight @ D.reshape(4, 4) @ mu.reshape(4))
    assert all(np.array_equal(a, b) for a, b in zip(arguments, before, strict=True))


@PROFILE
@given(seeds, st.sampled_from([1, 2, 4]), st.booleans(), st.integers(0, 1))
def test_batch_norm_folds_into_the_convolution_in_front(seed, groups, biased, padding):
    x, weight = normal(seed, 2, 4, 5, 5), normal(1, 8, 4 // groups, 3, 3)
    bias = normal(2, 8) if biased else None
    scale, shift, mean, var = normal(3, 8), normal(4, 8), normal(5, 8), normal(6, 8) ** 2
    y = torch.from_numpy(conv(x, weight, bias, padding=padding, groups=groups))
    statistics = (torch.from_numpy(t) for t in (mean, var, scale, shift))
    expected = torch.nn.functional.batch_norm(y, *statistics, eps=1e-3).numpy()
    folded = fold_batch_norm(weight, bias, scale, shift, mean, var, 1e-3)
    close(conv(x, *folded, padding=padding, groups=groups), expected)


@PROFILE
@given(
    seed=seeds,
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    blocks=st.sampled_from([1, 2, 4]),
)
def test_the_patches_that_a_transposed_convolution_adds_up_are_whitened(
    seed, stride, padding, blocks
):
    channels, kernel = 4, 3
    weight, bias = normal(seed, channels, channels, kernel, kernel), normal(1, channels)
    features = channels * kernel**2 // blocks
    D, mu = normal(2, features, features), normal(3, features)
    folded, offset = fold_fast_deconv_transpose(weight, bias, mu, D)
    x = normal(4, 2, channels, 5, 4)
    found = torch.conv_transpose2d(*map(torch.from_numpy, (x, folded, offset)), stride, padding)
    # One input position at a time: its patch is whitened in plain order and put down flipped.
    M, m = np.kron(D, np.eye(blocks)), np.kron(mu, np.ones(blocks))
    rows = weight[:, :, ::-1, ::-1].reshape(channels, -1)
    size = [(n - 1) * stride + kernel for n in x.shape[2:]]
    expected = np.zeros((2, channels, *size))
    for i, j in np.ndindex(*x.shape[2:]):
        patch = (x[:, :, i, j] @ rows @ M).reshape(2, channels, kernel, kernel)
        window = np.s_[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        expected[window] += patch[:, :, ::-1, ::-1]
    inner = slice(padding, -padding or None)
    expected = expected[:, :, inner, inner] + (bias - rows @ M @ m).reshape(1, -1, 1, 1)
    close(found.numpy(), expected)

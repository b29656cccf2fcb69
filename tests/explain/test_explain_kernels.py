import numpy as np
import pytest
import torch
from whitened import fading, inverse_root, with_eigenvalues

from nd_deploy.explain.kernels import (
    FirstConvolution,
    central_kernels,
    profile,
    shown_channels,
    shows_all_pairs,
    sums_of,
)
from nd_deploy.nd.layers import FastDeconv


def test_a_separable_covariance_has_the_product_of_its_factors_kernels():
    size, middle = 7, 3
    rows, columns = fading(size, 0.9), fading(size, 0.6)
    colours = np.array([[1.0, 0.4], [0.4, 2.0]])
    deconv = inverse_root(np.kron(colours, np.kron(rows, columns)))
    found = central_kernels(deconv, channels=2, size=size)
    plane = np.outer(inverse_root(rows)[middle], inverse_root(columns)[middle])
    expected = inverse_root(colours)[:, :, None, None] * plane
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_smooth_pixels_have_a_centre_against_a_surround():
    (((kernel,),)) = central_kernels(inverse_root(np.kron(fading(9, 0.9), fading(9, 0.9))), 1, 9)
    rings = profile(kernel)
    assert rings[0] > 0 > rings[1]
    sums = sums_of(kernel[None], 0)
    assert abs(sums.whole) < 0.1 * sums.centre


@pytest.mark.parametrize(
    ("channels", "kernel", "block", "groups"),
    [(3, 3, 64, 1), (4, 3, 2, 1), (6, 3, 4, 1), (6, 1, 3, 1), (4, 5, 64, 2), (5, 3, 1, 5)],
)
def test_kernels_are_what_the_layer_itself_convolves_with(channels, kernel, block, groups):
    layer = FastDeconv(channels, channels, kernel, block=block, groups=groups, bias=False).double()
    generator = torch.Generator().manual_seed(1)
    shape = layer.running_deconv.shape
    mixed = torch.randn(shape, generator=generator, dtype=torch.float64)
    layer.running_deconv.copy_(mixed @ mixed.mT)
    per_group = channels // groups
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel % per_group, kernel // 2, kernel // 2] = 1
        taps = torch.eye(channels * kernel**2, dtype=torch.float64)
        answers = layer.eval()(taps.view(-1, channels, kernel, kernel))
    expected = answers[:, :, 0, 0].T.reshape(channels, channels, kernel, kernel).numpy()

    stacked = layer.running_deconv.numpy().reshape(-1, *shape[-2:])
    first = FirstConvolution("conv", stacked, channels, (kernel, kernel))
    np.testing.assert_allclose(first.kernels(range(channels)), expected, rtol=1e-12, atol=1e-12)
    whole = channels // groups * kernel**2
    assert (first.groups, first.shared_by) == (groups, whole // shape[-1])


def test_the_kernel_of_a_signal_is_one_line():
    deconv = with_eigenvalues(np.arange(1.0, 11.0))
    kernels = FirstConvolution("conv", deconv[None], 2, (1, 5)).kernels([1])
    assert kernels.shape == (1, 2, 1, 5)
    np.testing.assert_allclose(kernels.ravel(), deconv[7], rtol=1e-12)


def test_a_row_and_a_column_that_differ_by_rounding_are_averaged():
    deconv = with_eigenvalues([1.0, 2.0, 3.0])
    deconv[1, 0] += 0.5
    (kernel,) = FirstConvolution("conv", deconv[None], 1, (1, 3)).kernels([0])
    np.testing.assert_allclose(kernel[0, 0], (deconv[1] + deconv[:, 1]) / 2)


def test_the_profile_is_the_mean_over_rings():
    kernel = np.array(
        [
            [9, 9, 2, 9, 9],
            [9, 1, 1, 1, 9],
            [2, 1, 7, 1, 2],
            [9, 1, 1, 5, 9],
            [9, 9, 2, 9, 9],
        ],
        np.float64,
    )
    # Knight's moves are 2.24 away, which rounds to 2; the corners are 2.83 away.
    np.testing.assert_allclose(profile(kernel), [7, 12 / 8, (4 * 2 + 8 * 9) / 12])
    np.testing.assert_allclose(profile(np.stack([kernel, 2 * kernel]))[1], 2 * profile(kernel))


def test_the_sums_tell_centre_surround_and_other_channels_apart():
    kernel = np.array([[[1, 1, 1], [1, 1, 1], [1, 1, 1]], [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]])
    sums = sums_of(kernel.astype(np.float64), 1)
    assert (sums.centre, sums.surround, sums.others, sums.whole) == (5, -4, 9, 10)


@pytest.mark.parametrize(
    ("channels", "shown", "pairs"), [(1, 1, True), (4, 4, True), (64, 8, False)]
)
def test_of_many_channels_the_first_few_are_shown(channels, shown, pairs):
    first = FirstConvolution("conv", np.eye(9 * channels)[None], channels, (3, 3))
    assert shown_channels(first) == list(range(shown))
    assert shows_all_pairs(first) is pairs

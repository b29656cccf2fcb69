"""The folded weight of the batch's own statistics, against PyTorch in float64 and in float32."""

from __future__ import annotations

import re
import statistics
import subprocess
from dataclasses import replace

import emulated
import numpy as np
import pytest
import torch
from dynamic_calls import Layer, assert_rounded, distance, expected_fold, fast_deconv, images
from emulated import Order
from kernel_calls import TYPES, Kernels, nvcc_or_skip

SOURCES = ("fast_deconv_dynamic.cu", "errors.cpp")
# Lowers what takes the paths of large layers, so that small ones take them.
LOW_THRESHOLDS = [
    *("-DND_CHUNK_BYTES=0", "-DND_LARGE_FEATURES=65", "-DND_PLENTIFUL_SAMPLES=64"),
    *("-DND_LARGE_FOLD_TILES=1", "-DND_FEW_TILES=0"),
]

FEW_FEATURES = [
    Layer("1x1", (2, 16, 5, 3), {"kernel_size": 1, "sampling_stride": 1}),
    Layer("1x1-sampled-strided", (3, 12, 7, 5), {"kernel_size": 1, "stride": 2, "padding": 1}),
    Layer("1x1-shared", (2, 24, 5, 5), {"kernel_size": 1, "block": 8, "sampling_stride": 2}),
    Layer("1x1-whole-block", (1, 64, 6, 6), {"kernel_size": 1, "sampling_stride": 1}, 9),
    Layer("1x1-grouped", (2, 12, 5, 5), {"kernel_size": 1, "groups": 3, "sampling_stride": 1}),
    Layer("3x3", (2, 3, 9, 11), {"kernel_size": 3, "padding": 1, "sampling_stride": 2}),
    Layer("3x3-shared", (2, 12, 8, 7), {"kernel_size": 3, "padding": 1, "block": 4}),
    Layer(
        "2x3-everything",
        (2, 8, 13, 12),
        {"kernel_size": (2, 3), "stride": (1, 2), "padding": (2, 1), "dilation": (3, 2), "block": 4}
        | {"sampling_stride": 2},
    ),
    Layer("7x7", (2, 1, 12, 11), {"kernel_size": 7, "padding": 3, "sampling_stride": 1}),
    Layer(
        "3x3-depthwise",
        (2, 6, 9, 9),
        {"kernel_size": 3, "padding": 1, "groups": 6, "sampling_stride": 1, "n_iter": 1},
    ),
    Layer(
        "3x3-depthwise-multiplied",
        (1, 3, 9, 9),
        {"kernel_size": 3, "padding": 1, "groups": 3, "sampling_stride": 1},
        15,
    ),
    Layer(
        "3x3-grouped",
        (2, 12, 9, 9),
        {"kernel_size": 3, "padding": 1, "groups": 3, "sampling_stride": 1, "n_iter": 3},
    ),
    Layer("3x3-18", (2, 2, 7, 7), {"kernel_size": 3, "padding": 1, "sampling_stride": 1}),
    Layer("3x3-45", (1, 5, 10, 9), {"kernel_size": 3, "padding": 1, "sampling_stride": 1}),
]
MANY_FEATURES = [
    Layer("3x3-72", (1, 8, 9, 9), {"kernel_size": 3, "padding": 1, "sampling_stride": 1}),
    Layer(
        "3x3-72-shared",
        (2, 16, 9, 9),
        {"kernel_size": 3, "padding": 1, "sampling_stride": 1, "block": 8, "n_iter": 2},
        70,
    ),
    Layer(
        "3x3-90-grouped",
        (2, 20, 9, 7),
        {"kernel_size": 3, "padding": 1, "groups": 2, "sampling_stride": 1, "n_iter": 2},
    ),
    Layer(
        "7x7-147",
        (2, 3, 21, 19),
        {"kernel_size": 7, "stride": 2, "padding": 3, "sampling_stride": 1, "n_iter": 2},
    ),
    Layer("1x1-100", (2, 100, 9, 9), {"kernel_size": 1, "block": 100, "n_iter": 1}),
]
LAYERS = FEW_FEATURES + MANY_FEATURES


def with_options(layer: Layer, **options: object) -> Layer:
    return replace(layer, arguments=layer.arguments | options)


def errors(kernels: Kernels, layer: Layer, x: np.ndarray) -> tuple[tuple[float, float], ...]:
    """How far the kernels' and PyTorch's float32 are from float64: weights, then biases."""
    exact = expected_fold(layer, x, torch.float64)
    pytorch = expected_fold(layer, x, torch.float32)
    folded = fast_deconv(kernels, layer, x)
    return tuple(
        (distance(ours, right), distance(theirs.double(), right))
        for ours, theirs, right in zip(folded, pytorch, exact, strict=True)
    )


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_and_type_equals_float64_up_to_the_types_rounding(kernels, layer, name):
    x = images(layer.shape, TYPES[name])
    weight, bias = fast_deconv(kernels, layer, x)
    expected_weight, expected_bias = expected_fold(layer, x, torch.float64)
    assert_rounded(weight, expected_weight, name)
    # What cancels in the bias is as large as the weight times the mean.
    size = float(expected_weight.abs().sum((1, 2, 3)).max() / expected_bias.abs().max())
    assert_rounded(bias, expected_bias, name, allowed=2.0**-20 * (1 + size))


@pytest.mark.parametrize(
    ("channels", "n_iter"), [(3, 1), (3, 3), (3, 5), (3, 15), (8, 1), (8, 5), (8, 7), (8, 15)]
)
def test_float32_is_no_less_accurate_than_pytorch(kernels, channels, n_iter):
    arguments = {"kernel_size": 3, "padding": 1, "sampling_stride": 1, "n_iter": n_iter}
    layer = Layer("", (1, channels, 14, 12), arguments)
    (ours, theirs), _ = errors(kernels, layer, images(layer.shape, np.float32))
    assert ours <= theirs


def test_float32_biases_are_no_less_accurate_than_pytorchs(kernels):
    """Taken together: a bias is a few numbers, in each of which roundings may cancel."""
    layers = [layer for layer in LAYERS if "grouped" in layer.name or "3x3" in layer.name]
    biases = np.array(
        [errors(kernels, layer, images(layer.shape, np.float32))[1] for layer in layers]
    )
    assert np.linalg.norm(biases[:, 0]) <= np.linalg.norm(biases[:, 1])


@pytest.mark.parametrize("more_padding", [(1, 2, 0, 0), (0, 0, 2, 3), (2, 0, 1, 4)])
@pytest.mark.parametrize("layer", [FEW_FEATURES[5], MANY_FEATURES[0]], ids=["27", "72"])
def test_padding_may_differ_from_side_to_side(kernels, layer, more_padding):
    layer = replace(with_options(layer, n_iter=2), more_padding=more_padding)
    x = images(layer.shape, np.float32)
    weight, _ = fast_deconv(kernels, layer, x)
    exact, _ = expected_fold(layer, x, torch.float64)
    symmetric, _ = expected_fold(replace(layer, more_padding=(0, 0, 0, 0)), x, torch.float64)
    assert distance(weight, exact) < 1e-6
    assert distance(symmetric, exact) > 1e-3


# 1.5^n, which the iteration would reach where it has no bounds, is beyond what each can store.
@pytest.mark.parametrize(
    ("layer", "n_iter"), [(FEW_FEATURES[5], 250), (MANY_FEATURES[0], 43)], ids=["27", "72"]
)
def test_steps_may_be_many(kernels, layer, n_iter):
    layer = with_options(layer, n_iter=n_iter)
    (ours, theirs), _ = errors(kernels, layer, images(layer.shape, np.float32))
    assert ours <= theirs


@pytest.mark.parametrize("layer", [*FEW_FEATURES[3:6:2], MANY_FEATURES[0]], ids=["64", "27", "72"])
def test_a_dead_channel_costs_no_more_accuracy_than_in_pytorch(kernels, layer):
    x = images(layer.shape, np.float32)
    x[:, 1] = 0.0
    (ours, theirs), _ = errors(kernels, layer, x)
    assert ours <= theirs


@pytest.mark.parametrize("layer", [FEW_FEATURES[3], MANY_FEATURES[0]], ids=["64", "72"])
def test_no_step_scales_the_weight_by_the_covariances_norm(kernels, layer):
    layer = with_options(layer, n_iter=0)
    x = images(layer.shape, np.float32)
    weight, _ = fast_deconv(kernels, layer, x)
    assert distance(weight, expected_fold(layer, x, torch.float64)[0]) < 2e-7


# A singular covariance loses its least eigenvalues where it is rounded to float32. 15 steps make
# that an error of 1e-4, beside which no other counts; both make it, and their luck differs.
@pytest.mark.parametrize(
    ("channels", "n_iter", "eps", "factor"),
    [(4, 5, 1e-5, 1), (4, 5, 1e-10, 1), (4, 15, 1e-5, 1.5), (8, 5, 1e-10, 1), (8, 15, 1e-5, 1.5)],
)
def test_a_singular_covariance_is_no_worse_than_in_pytorch(kernels, channels, n_iter, eps, factor):
    arguments = {"kernel_size": 3, "padding": 1, "sampling_stride": 1}
    layer = Layer("", (1, channels, 7, 5), arguments | {"n_iter": n_iter, "eps": eps})
    ratios = []
    for seed in range(4):
        x = images(layer.shape, np.float32, seed)
        x[:, 1] = x[:, 0]  # and 35 samples have a rank of 34 at most
        (ours, theirs), _ = errors(kernels, layer, x)
        ratios.append(ours / theirs)
    assert statistics.geometric_mean(ratios) <= factor


def test_a_large_mean_costs_no_more_accuracy_than_in_pytorch(kernels):
    for layer in (FEW_FEATURES[5], MANY_FEATURES[0]):
        (ours, theirs), _ = errors(kernels, layer, images(layer.shape, np.float32, offset=500.0))
        assert ours <= theirs


@pytest.mark.parametrize("scale", [2.0**-28, 2.0**-14, 2.0**14, 2.0**28])
@pytest.mark.parametrize("layer", [FEW_FEATURES[5], MANY_FEATURES[0]], ids=["27", "72"])
def test_samples_may_have_any_scale(kernels, layer, scale):
    x = images(layer.shape, np.float32)
    x[...] *= np.float32(scale)
    weight, _ = fast_deconv(kernels, with_options(layer, eps=0.0), x)
    expected, _ = expected_fold(with_options(layer, eps=0.0), x, torch.float64)
    assert distance(weight, expected) < 2e-6


def test_features_and_output_channels_may_have_very_different_scales(kernels):
    layer = with_options(MANY_FEATURES[0], eps=0.0, n_iter=2)
    x = images(layer.shape, np.float32)
    x[...] *= (10.0 ** np.linspace(-3, 3, 8)).astype(np.float32)[:, None, None]
    (ours, theirs), _ = errors(kernels, layer, x)
    assert ours <= theirs


def test_a_constant_batch_is_whitened_by_eps_alone(kernels):
    for layer in (FEW_FEATURES[0], MANY_FEATURES[4]):
        x = images(layer.shape, np.float32)
        x[...] = 3.0
        weight, bias = fast_deconv(kernels, layer, x)
        expected_weight, expected_bias = expected_fold(layer, x, torch.float64)
        assert distance(weight, expected_weight) < 2e-6
        assert distance(bias, expected_bias) < 2e-6


def test_a_single_sample_is_enough(kernels):
    arguments = {"kernel_size": 3, "sampling_stride": 5}
    for channels in (2, 8):
        layer = Layer("", (1, channels, 4, 5), arguments)
        x = images(layer.shape, np.float32)
        weight, _ = fast_deconv(kernels, layer, x)
        assert distance(weight, expected_fold(layer, x, torch.float64)[0]) < 2e-6


@pytest.mark.parametrize("layer", [FEW_FEATURES[11], MANY_FEATURES[2]], ids=["36", "90"])
def test_nan_stays_in_its_group(kernels, layer):
    x = images(layer.shape, np.float32)
    x[1, 0, 4, 4] = np.nan
    weight, bias = fast_deconv(kernels, layer, x)
    first = layer.outputs // layer.arguments["groups"]
    assert np.isnan(weight[:first]).all()
    assert np.isnan(bias[:first]).all()
    assert np.isfinite(weight[first:]).all()
    assert np.isfinite(bias[first:]).all()


@pytest.mark.parametrize("order", [Order.REVERSE, Order.RANDOM])
def test_the_result_does_not_depend_on_the_order_of_threads(emulation, order):
    for layer in (FEW_FEATURES[7], FEW_FEATURES[9], MANY_FEATURES[1], MANY_FEATURES[2]):
        x = images(layer.shape, np.float16)
        forward = fast_deconv(emulation, layer, x)
        with emulation.library.order(order, seed=5):
            other = fast_deconv(emulation, layer, x)
        for one, two in zip(forward, other, strict=True):
            np.testing.assert_array_equal(one.view(np.uint16), two.view(np.uint16))


SANITIZED = """
import sys
import emulated, numpy as np, torch
from dynamic_calls import distance, expected_fold, fast_deconv, images
from kernel_calls import HostMemory, Kernels
from test_fast_deconv_dynamic_kernel import FEW_FEATURES, MANY_FEATURES, with_options

kernels = Kernels(emulated.Library(sys.argv[1]), HostMemory())
for layer in FEW_FEATURES + [with_options(layer, n_iter=2) for layer in MANY_FEATURES[1:3]]:
    x = images(layer.shape, np.float32)
    weight, bias = fast_deconv(kernels, layer, x)
    expected = expected_fold(layer, x, torch.float64)
    assert distance(weight, expected[0]) < 1e-6, layer
    assert distance(bias, expected[1]) < 4e-6, layer
"""


def test_nothing_outside_of_the_tensors_is_touched_in_large_layers_either(tmp_path_factory):
    library = emulated.build(
        tmp_path_factory, *SOURCES, sanitize=True, flags=["-O0", *LOW_THRESHOLDS]
    )
    emulated.run_sanitized(library, SANITIZED)


@pytest.mark.parametrize("source", ["fast_deconv_dynamic.cu", "channel_deconv_dynamic.cu"])
def test_the_compiler_keeps_everything_in_registers(tmp_path, source):
    command = [nvcc_or_skip(), "-std=c++17", "-arch=sm_80", "-Xptxas", "-v", "-c"]
    command += ["-o", str(tmp_path / "kernels.o"), str(emulated.CSRC / source)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    spills = re.findall(r"(\d+) bytes spill stores", compiled.stderr)
    assert spills
    assert set(spills) == {"0"}

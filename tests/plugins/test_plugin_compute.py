"""What the C++ plugins compute when TensorRT's interface is driven, against float64."""

import numpy as np
import pytest
import torch
from device_memory import Tensor, round_to, run
from torch.nn import functional as F  # noqa: N812
from v3 import BF16, FLOAT, HALF, RefusedError, desc

from nd_deploy.nd.layers import ChannelDeconv, FastDeconv

# How far a result may be off, relative to the largest: one rounding to the type, and the float32
# arithmetic in front of it.
TOLERANCES = {FLOAT: 2e-5, HALF: 2**-10, BF16: 2**-7}
KINDS = pytest.mark.parametrize("kind", TOLERANCES, ids=["float32", "float16", "bfloat16"])

rng = np.random.default_rng(0)


def assert_close(result, expected, kind):
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCES[kind] * spread(expected))


def spread(values):
    return max(1.0, np.abs(values).max(initial=0))


# --- frozen ---


def whitened(x, mean, deconv, leftover=None, relu=False):
    """The definition, with loops over channels and in float64."""
    features = len(mean)
    groups = x.shape[1] // features
    y = np.zeros(x.shape)
    for channel in range(groups * features):
        feature, group = divmod(channel, groups)
        for other in range(features):
            centred = x[:, other * groups + group] - mean[other]
            y[:, channel] += deconv[feature, other] * centred
    if leftover is not None:
        rest = slice(groups * features, None)
        y[:, rest] = (x[:, rest] - leftover[0]) * leftover[1]
    return np.where(y < 0, 0, y) if relu else y


def frozen_inputs(shape, features, kind, with_leftover):
    x = round_to(rng.standard_normal(shape) + 0.5, kind)
    mean = round_to(rng.standard_normal(features), FLOAT)
    # Far from symmetric, so that a transposed D would show.
    deconv = round_to(rng.standard_normal((features, features)) / features, FLOAT)
    leftover = [round_to(np.array([value]), FLOAT) for value in (0.3, 1.7)]
    others = [mean, deconv, *(leftover if with_leftover else [])]
    return x, others, [(x, kind), *((value, FLOAT) for value in others)]


@KINDS
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    ("op", "shape", "features"),
    [
        ("NDChannelDeconv", (2, 64, 7, 7), 64),
        ("NDChannelDeconv", (3, 6, 5, 3), 2),
        ("NDChannelDeconvRelu", (1, 33, 1, 13), 11),
        ("NDChannelDeconvRelu", (5, 4), 4),
        ("NDChannelDeconvLeftover", (2, 37, 3, 3), 16),
        ("NDChannelDeconvLeftover", (2, 3, 4, 4), 8),
        ("NDChannelDeconvLeftoverRelu", (1, 65, 9), 32),
        ("NDChannelDeconvLeftoverRelu", (2, 8, 2, 2, 2), 4),
    ],
)
def test_frozen_plugins_whiten_channels(host, memory, op, shape, features, kind, shift):
    with_leftover, relu = "Leftover" in op, op.endswith("Relu")
    x, others, inputs = frozen_inputs(shape, features, kind, with_leftover)
    (y,) = run(host.create(op), memory, inputs, [shape], shift)
    mean, deconv, *leftover = others
    assert_close(y, whitened(x, mean, deconv, leftover or None, relu), kind)


@KINDS
def test_relu_keeps_what_is_not_a_number(host, memory, kind):
    x = np.array([[1.0, np.nan], [-1.0, 2.0]])
    inputs = [(x, kind), (np.zeros(1), FLOAT), (np.ones((1, 1)), FLOAT)]
    (y,) = run(host.create("NDChannelDeconvRelu"), memory, inputs, [(2, 2)])
    np.testing.assert_array_equal(y, [[1.0, np.nan], [0.0, 2.0]])


@KINDS
@pytest.mark.parametrize("op", ["NDChannelDeconv", "NDChannelDeconvLeftoverRelu"])
def test_an_empty_batch_is_no_error(host, memory, op, kind):
    _, _, inputs = frozen_inputs((0, 8, 5, 5), 4, kind, "Leftover" in op)
    (y,) = run(host.create(op), memory, inputs, [(0, 8, 5, 5)])
    assert y.shape == (0, 8, 5, 5)


# --- the statistics of the batch ---


def batch_layer(layer):
    return layer.double().train()


def float_of(value):
    return np.array([value], np.float32)


def ints_of(*values):
    return np.array(values, np.int32)


@KINDS
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    ("shape", "block", "sampling"),
    [((4, 8, 7, 5), 4, 1), ((3, 10, 6, 6), 4, 2), ((9, 5), 5, 3), ((8, 3, 4, 4), 8, 3)],
)
def test_channels_are_whitened_by_their_own_batch(
    host, memory, shape, block, sampling, kind, shift
):
    x = round_to(rng.standard_normal(shape) * 2 + 1, kind)
    fields = {
        "block": ints_of(block),
        "n_iter": ints_of(5),
        "sampling_stride": ints_of(sampling),
        "eps": float_of(1e-2),
    }
    plugin = host.create("NDChannelDeconvDynamic", fields)
    (y,) = run(plugin, memory, [(x, kind)], [shape], shift)
    eps = float(float_of(1e-2)[0])
    layer = batch_layer(ChannelDeconv(block, eps=eps, sampling_stride=sampling))
    assert_close(y, layer(torch.from_numpy(x)).detach().numpy(), kind)


# Arguments of FastDeconv, and the size of x.
LAYERS = {
    "3x3": ({"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1}, (4, 9, 8)),
    "strided": (
        {"in_channels": 6, "out_channels": 5, "kernel_size": 3, "stride": 2, "padding": 1},
        (3, 11, 9),
    ),
    "shared": (
        {"in_channels": 12, "out_channels": 7, "kernel_size": (3, 1), "block": 4, "dilation": 2},
        (3, 12, 10),
    ),
    "1x1": (
        {"in_channels": 10, "out_channels": 4, "kernel_size": 1, "block": 5, "sampling_stride": 2},
        (3, 7, 7),
    ),
    "grouped": (
        {"in_channels": 8, "out_channels": 6, "kernel_size": 3, "groups": 2, "padding": 1},
        (5, 8, 8),
    ),
    "depthwise": (
        {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "groups": 4, "sampling_stride": 1},
        (3, 7, 7),
    ),
}


def fast_fields(layer):
    (height, width), (vertical, horizontal) = layer.kernel_size, layer.padding
    return {
        "kernel_shape": ints_of(height, width),
        "pads": ints_of(vertical, horizontal, vertical, horizontal),
        "dilations": ints_of(*layer.dilation),
        "group": ints_of(layer.groups),
        "block": ints_of(layer.block),
        "n_iter": ints_of(layer.n_iter),
        "sampling_strides": ints_of(*layer.sampling_stride),
        "eps": float_of(layer.eps),
    }


@KINDS
@pytest.mark.parametrize("name", LAYERS)
def test_weights_are_folded_with_the_statistics_of_the_batch(host, memory, name, kind):
    arguments, (batch, height, width) = LAYERS[name]
    layer = batch_layer(FastDeconv(**arguments, eps=float(float_of(1e-2)[0])))
    weight = round_to(layer.weight.detach().numpy(), FLOAT)
    bias = round_to(layer.bias.detach().numpy(), FLOAT)
    x = round_to(rng.standard_normal((batch, layer.in_channels, height, width)) + 0.5, kind)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
        expected = layer(torch.from_numpy(x)).numpy()
    plugin = host.create("NDFastDeconvDynamic", fast_fields(layer))
    inputs = [(x, kind), (weight, FLOAT), (bias, FLOAT)]
    folded = run(plugin, memory, inputs, [weight.shape, bias.shape], shift=1)
    w, b = map(torch.from_numpy, folded)
    y = F.conv2d(
        torch.from_numpy(x), w, b, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    # Each output sums what every weight was rounded by.
    tolerance = TOLERANCES[kind] * max(1.0, float(w.abs().flatten(1).sum(1).max()))
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=tolerance * spread(x))


def test_an_empty_batch_is_whitened_into_an_empty_one(host, memory):
    fields = {"block": ints_of(2), "n_iter": ints_of(5), "sampling_stride": ints_of(1)}
    plugin = host.create("NDChannelDeconvDynamic", fields | {"eps": float_of(1e-2)})
    (y,) = run(plugin, memory, [(np.zeros((0, 4, 3, 3)), FLOAT)], [(0, 4, 3, 3)])
    assert y.size == 0


def test_an_empty_batch_has_no_statistics_to_fold_weights_with(host):
    x, weight, bias = desc((0, 4, 5, 5)), desc((2, 4, 3, 3)), desc((2,))
    plugin = host.create("NDFastDeconvDynamic", fast_fields(FastDeconv(4, 2, 3)))
    plugin.on_shape_change([x, weight, bias], [weight, bias])
    with pytest.raises(RefusedError, match="nothing that statistics could be taken of"):
        plugin.enqueue([x, weight, bias], [weight, bias], [None] * 3, [None] * 2, None)


# --- what can only go wrong at run time ---


def test_a_failed_launch_says_why(host):
    x, vector, matrix = desc((1, 4, 2, 2)), desc((2,)), desc((2, 2))
    plugin = host.create("NDChannelDeconv")
    with pytest.raises(
        RefusedError, match=r"error: nd_deploy: NDChannelDeconv: a pointer .* is null"
    ):
        plugin.enqueue([x, vector, matrix], [x], [None] * 3, [None], None)


def test_one_plugin_serves_changing_shapes(host, memory):
    made = host.create("NDChannelDeconv").attach()
    for shape in ((1, 4, 3, 3), (5, 4, 1, 2), (0, 4, 3, 3), (2, 4, 6, 6)):
        x, others, inputs = frozen_inputs(shape, 2, FLOAT, False)
        read = [Tensor(memory, *each) for each in inputs]
        written = Tensor(memory, np.zeros(shape), FLOAT)
        descs = [tensor.desc for tensor in read], [written.desc]
        made.on_shape_change(*descs)
        made.enqueue(*descs, [tensor.pointer for tensor in read], [written.pointer], None)
        assert_close(written.read(), whitened(x, *others), FLOAT)

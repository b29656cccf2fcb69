"""FastDeconv and Delinear, step by step against float64 numpy."""

import copy

import numpy as np
import pytest
import torch
from numpy_layers import NumpyDelinear, NumpyFastDeconv, batches

from nd_deploy.errors import InputError
from nd_deploy.nd.layers import Delinear, FastDeconv

TIGHT = {"rtol": 1e-9, "atol": 1e-9}


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def twin(layer, sampling_stride):
    return NumpyFastDeconv(
        layer.weight.detach().numpy(),
        None if layer.bias is None else layer.bias.detach().numpy(),
        layer.block,
        pair(layer.stride),
        layer.padding[0],
        layer.dilation[0],
        layer.groups,
        sampling_stride,
        layer.eps,
        layer.n_iter,
    )


def conv(in_channels, out_channels, kernel_size, **others):
    sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
    return sizes | others


# Arguments, and the block that the layer settles on.
FAST = {
    "3x3": (conv(4, 5, 3, padding=1), 4),
    "1x1": (conv(6, 5, 1), 6),
    "1x1, strided, two blocks": (conv(6, 5, 1, stride=2, block=3), 3),
    "3x3, strided, three blocks": (conv(6, 4, 3, stride=2, padding=1, block=2), 2),
    "a block that does not divide the channels": (conv(6, 4, 3, block=4), 2),
    "a block above the channels": (conv(3, 4, 3, block=64), 3),
    "every patch sampled": (conv(4, 5, 3, padding=1, sampling_stride=1), 4),
    "dilated": (conv(4, 4, 3, padding=2, dilation=2, block=2), 2),
    "grouped": (conv(6, 9, 3, padding=1, groups=3), 2),
    "grouped 1x1": (conv(6, 4, 1, groups=2), 3),
    "depthwise, one step": (conv(4, 4, 3, padding=1, groups=4, n_iter=1), 1),
    "depthwise with a multiplier": (conv(4, 12, 3, stride=2, groups=4), 1),
    "no bias": (conv(4, 5, 3, padding=1, block=2, bias=False), 2),
    "grouped without bias": (conv(4, 6, 3, groups=2, bias=False), 2),
    "pairs": (conv(4, 5, (1, 3), stride=(2, 1), block=2, sampling_stride=2), 2),
}


@pytest.mark.parametrize(("arguments", "block"), FAST.values(), ids=FAST)
def test_fast_deconv_trains_and_evaluates_as_published(arguments, block):
    layer = FastDeconv(**arguments).double()
    assert layer.block == block
    expected = twin(layer, arguments.get("sampling_stride", 3))
    for x in batches((5, arguments["in_channels"], 9, 10), 4):
        np.testing.assert_allclose(
            layer(torch.from_numpy(x)).detach().numpy(), expected.train(x), **TIGHT
        )
        np.testing.assert_allclose(layer.running_mean.numpy(), expected.mean, **TIGHT)
        np.testing.assert_allclose(layer.running_deconv.numpy(), expected.D, **TIGHT)
    layer.eval()
    for x in batches((2, arguments["in_channels"], 7, 6), 1, seed=1):
        np.testing.assert_allclose(
            layer(torch.from_numpy(x)).detach().numpy(), expected.eval(x), **TIGHT
        )


@pytest.mark.parametrize(
    ("features", "asked", "block", "bias"),
    [(12, 4, 4, True), (12, 8, 4, False), (12, 512, 12, True), (12, 12, 12, False)],
)
@pytest.mark.parametrize("leading", [(30,), (6, 5)])
def test_delinear_trains_and_evaluates_as_published(features, asked, block, bias, leading):
    layer = Delinear(features, 5, block=asked, bias=bias).double()
    assert layer.block == block
    weight = layer.weight.detach().numpy()
    expected = NumpyDelinear(
        weight, layer.bias.detach().numpy() if bias else None, block, layer.eps, layer.n_iter
    )
    for x in batches((30, features), 4):
        x = x.reshape(*leading, features)
        np.testing.assert_allclose(
            layer(torch.from_numpy(x)).detach().numpy(), expected.train(x), **TIGHT
        )
        np.testing.assert_allclose(layer.running_mean.numpy(), expected.mean, **TIGHT)
        np.testing.assert_allclose(layer.running_deconv.numpy(), expected.D, **TIGHT)
    layer.eval()
    x = np.random.default_rng(1).normal(size=(*leading, features))
    np.testing.assert_allclose(
        layer(torch.from_numpy(x)).detach().numpy(), expected.eval(x), **TIGHT
    )


def test_frozen_statistics_move_on_the_published_steps_only():
    layer = FastDeconv(2, 3, 3, freeze=True, freeze_iter=2)
    moved = []
    for step, x in enumerate(batches((3, 2, 8, 8), 25)):
        before = layer.running_mean.clone()
        layer(torch.from_numpy(x).float())
        if not torch.equal(before, layer.running_mean):
            moved.append(step)
    assert moved == [0, 1, 2, 20, 21, 22]
    assert layer.counter == 5


def test_a_frozen_step_computes_with_the_running_statistics():
    layer = FastDeconv(2, 3, 3, freeze=True, freeze_iter=1).double()
    expected = twin(layer, 3)
    for step, x in enumerate(batches((3, 2, 8, 8), 6)):
        y = layer(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(y, (expected.train if step < 2 else expected.eval)(x), **TIGHT)


def test_without_tracking_training_leaves_buffers_and_counter_alone():
    layer = FastDeconv(2, 3, 3)
    layer.track_running_stats = False
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(3, 2, 8, 8))
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    assert layer.counter == 0


@pytest.mark.parametrize(
    "layer",
    [
        FastDeconv(2, 2, 2, block=1),
        FastDeconv(2, 2, 2, groups=2, bias=False, sampling_stride=1),
    ],
    ids=["blocks", "groups"],
)
def test_gradients_of_fast_deconv_flow_through_the_statistics(layer):
    layer.double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_gradients_of_delinear_flow_through_the_statistics():
    layer = Delinear(4, 2, block=2).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


@pytest.mark.parametrize("groups", [1, 2])
def test_channels_last_weights_and_inputs_give_the_same(groups):
    layer = FastDeconv(4, 6, 3, padding=1, block=2, groups=groups).double()
    expected = twin(layer, 3)
    layer.to(memory_format=torch.channels_last)
    for x in batches((4, 4, 8, 8), 2):
        last = torch.from_numpy(x).to(memory_format=torch.channels_last)
        np.testing.assert_allclose(layer(last).detach().numpy(), expected.train(x), **TIGHT)
    np.testing.assert_allclose(layer.eval()(last).detach().numpy(), expected.eval(x), **TIGHT)


def test_delinear_takes_inputs_that_are_not_contiguous():
    layer = Delinear(6, 2, block=3).double()
    x = torch.randn(6, 20, dtype=torch.float64).T
    other = copy.deepcopy(layer)
    torch.testing.assert_close(layer(x), other(x.contiguous()))


def test_evaluation_before_any_training_is_the_plain_convolution_and_leaves_no_trace():
    layer = FastDeconv(4, 6, 3, padding=1, block=2, freeze=True).eval()
    x = torch.randn(2, 4, 8, 8)
    plain = torch.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), plain)
    assert torch.equal(layer.running_deconv, torch.eye(18))
    assert not layer.running_mean.any()
    assert layer.counter == 0


def test_official_keys_and_shapes():
    def shapes(layer):
        return {key: tuple(value.shape) for key, value in layer.state_dict().items()}

    assert shapes(FastDeconv(128, 7, 3)) == {
        "weight": (7, 128, 3, 3), "bias": (7,),
        "running_mean": (576,), "running_deconv": (576, 576),
    }  # fmt: skip
    assert shapes(FastDeconv(32, 64, 3, groups=16, bias=False)) == {
        "weight": (64, 2, 3, 3), "running_mean": (288,), "running_deconv": (16, 18, 18),
    }  # fmt: skip
    assert shapes(Delinear(1280, 10)) == {
        "weight": (10, 1280), "bias": (10,),
        "running_mean": (256,), "running_deconv": (256, 256),
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 8)])
def test_fast_deconv_names_the_shape_it_cannot_take(shape):
    with pytest.raises(InputError, match=r"4-D input .* not one of shape \(4, 8"):
        FastDeconv(4, 4, 3)(torch.zeros(shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: FastDeconv(4, 4, 3, block=0),
        lambda: Delinear(4, 4, block=0),
        lambda: FastDeconv(4, 4, 3, freeze_iter=0),
    ],
)
def test_counts_below_one_are_refused(make):
    with pytest.raises(InputError, match="is 0"):
        make()


@pytest.mark.parametrize("groups", [1, 2])
def test_evaluation_exports(groups):
    layer = FastDeconv(4, 6, 3, block=2, groups=groups).eval()
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))

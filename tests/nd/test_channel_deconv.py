"""ChannelDeconv, step by step against float64 numpy."""

import copy

import numpy as np
import pytest
import torch
from numpy_layers import NumpyChannelDeconv, batches

from nd_deploy.errors import InputError
from nd_deploy.nd.layers import ChannelDeconv

TIGHT = {"rtol": 1e-9, "atol": 1e-9}

CASES = {
    "one block": (4, (5, 4, 7, 8), {}),
    "three blocks": (4, (5, 12, 7, 8), {}),
    "channels left over": (4, (5, 11, 7, 8), {}),
    "fewer channels than a block": (64, (5, 6, 7, 8), {}),
    "every value sampled": (4, (5, 10, 7, 8), {"sampling_stride": 1}),
    "maps below the sampling stride": (4, (5, 10, 2, 8), {}),
    "features": (4, (30, 8), {"eps": 1e-5}),
    "features left over": (4, (30, 10), {"n_iter": 3}),
}


def trained(layer, shape, steps=2):
    expected = NumpyChannelDeconv(layer.block, layer.eps, layer.n_iter, layer.sampling_stride)
    for x in batches(shape, steps):
        layer(torch.from_numpy(x))
        expected.train(x)
    return expected


@pytest.mark.parametrize(("block", "shape", "arguments"), CASES.values(), ids=CASES)
def test_channel_deconv_trains_and_evaluates_as_published(block, shape, arguments):
    layer = ChannelDeconv(block, **arguments).double()
    expected = NumpyChannelDeconv(block, layer.eps, layer.n_iter, layer.sampling_stride)
    for step, x in enumerate(batches(shape, 4), start=1):
        np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected.train(x), **TIGHT)
        np.testing.assert_allclose(layer.running_mean1[:, 0].numpy(), expected.mean, **TIGHT)
        np.testing.assert_allclose(layer.running_deconv.numpy(), expected.D, **TIGHT)
        np.testing.assert_allclose(layer.running_mean2.item(), expected.mean2, **TIGHT)
        np.testing.assert_allclose(layer.running_var.item(), expected.var, **TIGHT)
        assert layer.num_batches_tracked.item() == step
    layer.eval()
    for x in batches(shape, 1, seed=1):
        np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected.eval(x), **TIGHT)


def test_fewer_channels_than_a_block_leave_the_whitening_untouched():
    layer = ChannelDeconv(64)
    for _ in range(3):
        layer(torch.randn(4, 6, 8, 8))
    assert torch.equal(layer.running_deconv, torch.eye(64))
    assert torch.equal(layer.running_mean1, torch.zeros(64, 1))


def test_buffers_a_checkpoint_never_used_do_not_reach_the_output():
    layer = ChannelDeconv(64).eval()
    layer.running_mean1.fill_(float("nan"))
    layer.running_deconv.fill_(float("nan"))
    assert layer(torch.randn(2, 6, 4, 4)).isfinite().all()


@pytest.mark.parametrize("shape", [(3, 8, 5, 5), (3, 10, 5, 5), (3, 10)])
def test_evaluation_before_any_training_uses_the_initial_buffers_and_keeps_them(shape):
    layer = ChannelDeconv(4).double().eval()
    before = copy.deepcopy(layer.state_dict())
    (x,) = batches(shape, 1)
    expected = NumpyChannelDeconv(4, layer.eps, layer.n_iter, 3).eval(x)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), expected, **TIGHT)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("channels", [8, 10])
def test_channels_last_inputs_give_the_same(channels):
    layer = ChannelDeconv(4).double()
    expected = trained(layer, (4, channels, 6, 6))
    (x,) = batches((4, channels, 6, 6), 1, seed=1)
    last = torch.from_numpy(x).to(memory_format=torch.channels_last)
    np.testing.assert_allclose(layer(last).numpy(), expected.train(x), **TIGHT)
    np.testing.assert_allclose(layer.eval()(last).numpy(), expected.eval(x), **TIGHT)


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (8, 4)])
def test_gradients_flow_through_the_statistics(shape):
    layer = ChannelDeconv(2).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    layer(x.detach())
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("shape", [(3, 10, 5, 5), (3, 10)])
def test_evaluation_exports_whatever_the_counter_says(shape):
    layer = ChannelDeconv(4).double()
    expected = trained(layer, shape)
    layer.eval()
    (x,) = batches(shape, 1, seed=1)
    exported = torch.export.export(layer, (torch.from_numpy(x),)).module()
    np.testing.assert_allclose(exported(torch.from_numpy(x)).numpy(), expected.eval(x), **TIGHT)


def test_official_keys_and_shapes():
    assert {k: tuple(v.shape) for k, v in ChannelDeconv(32).state_dict().items()} == {
        "running_mean1": (32, 1),
        "running_deconv": (32, 32),
        "running_mean2": (1, 1),
        "running_var": (1, 1),
        "num_batches_tracked": (),
    }


@pytest.mark.parametrize("shape", [(4, 8, 8), (4,), (1, 4, 8, 8, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_the_shape_it_cannot_take_is_named_and_nothing_is_counted(shape, training):
    layer = ChannelDeconv(4).train(training)
    with pytest.raises(InputError, match=r"ChannelDeconv takes .* not \("):
        layer(torch.zeros(shape))
    assert layer.num_batches_tracked.item() == 0


def test_a_block_below_one_is_refused():
    with pytest.raises(InputError, match="block is 0"):
        ChannelDeconv(0)

"""Which layers can take their statistics from every batch, and the network that does."""

import copy

import numpy as np
import pytest
import torch
from foreign_layers import SomeonesConv
from generations import Conv1d, PlusPlusConv
from torch import nn

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd.batch_statistics import batch_statistics_twin, on_batch_statistics
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.nd.recognise import recognise
from nd_deploy.nd.twin import float32_copy, float64_twin, widened_in_turn

LAYERS = {
    "patches": lambda: FastDeconv(8, 12, 3, padding=1, block=4),
    "patches of a strided layer": lambda: FastDeconv(8, 12, 3, stride=2, dilation=2, block=2),
    "unequal sides": lambda: FastDeconv(4, 12, (1, 3), stride=(2, 1), padding=(0, 1)),
    "pixels": lambda: FastDeconv(8, 12, 1, stride=2, padding=1, block=4),
    "groups": lambda: FastDeconv(8, 12, 3, padding=1, groups=4, n_iter=1),
    "depthwise": lambda: FastDeconv(8, 8, 7, padding=3, groups=8, n_iter=15),
    "many features": lambda: FastDeconv(64, 64, 3, padding=1, n_iter=15),
    "every patch": lambda: FastDeconv(8, 12, 3, sampling_stride=1),
    "without bias": lambda: FastDeconv(8, 12, 3, bias=False),
    "features": lambda: Delinear(12, 5, block=4, n_iter=15),
    "features without bias": lambda: Delinear(12, 5, bias=False),
    "channels": lambda: ChannelDeconv(4),
    "all channels": lambda: ChannelDeconv(4, eps=1e-5, n_iter=15, sampling_stride=1),
}


class Published(FastDeconv):
    """Keeps what the authors' layer keeps: one distance, and a class that trains as theirs does."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.distance, self.sampling_stride = self.sampling_stride, self.sampling_stride[0]

    def _patches(self, x):
        told, self.sampling_stride = self.sampling_stride, (self.sampling_stride,) * 2
        try:
            return super()._patches(x)
        finally:
            self.sampling_stride = told


def only(network):
    (layer,) = on_batch_statistics(network, recognise(network)).layers
    return layer


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_is_known_by_what_it_computes_in_training(make):
    torch.manual_seed(0)
    layer = only(make().eval())
    assert layer.formula.name.endswith("on batch statistics")
    assert layer.probe_error < 1e-10


def test_a_sampling_stride_may_be_one_number_for_both_axes():
    torch.manual_seed(0)
    assert only(Published(4, 6, 3, stride=2)).probe_error < 1e-10


def test_a_frozen_layer_takes_the_statistics_of_the_batch_too():
    torch.manual_seed(0)
    layer = FastDeconv(4, 6, 3, freeze=True, freeze_iter=1)
    layer.train()
    with torch.no_grad():
        for _ in range(4):
            layer(torch.randn(4, 4, 7, 7))
    assert layer.counter > layer.freeze_iter
    assert only(layer).probe_error < 1e-10
    assert layer.freeze


def test_channels_fewer_than_a_block_take_the_statistics_of_all():
    layer = ChannelDeconv(4)
    layer.train()
    layer.running_deconv.fill_(torch.nan)
    layer.running_mean1.fill_(torch.nan)
    assert only(layer).probe_error < 1e-10


class SamplesAll(FastDeconv):
    """Trains with every patch, whatever it says about sampling."""

    def _patches(self, x):
        told, self.sampling_stride = self.sampling_stride, (1, 1)
        try:
            return super()._patches(x)
        finally:
            self.sampling_stride = told


class OtherMean(FastDeconv):
    def _batch_statistics(self, x):
        mean, deconv = super()._batch_statistics(x)
        return 2 * mean, deconv


class Raises(FastDeconv):
    def _batch_statistics(self, x):
        raise KeyError("statistics")


def changed(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


REFUSED = {
    "other mean": (OtherMean(4, 6, 3), "in training mode its output differs from FastDeconv"),
    "other patches": (SamplesAll(4, 6, 3), "in training mode its output differs from FastDeconv"),
    "other pixels": (SamplesAll(4, 6, 1), "in training mode its output differs from FastDeconv"),
    "signals": (Conv1d(4, 6, 3), "its kernel is 1-D, not 2-D"),
    "raises": (Raises(4, 6, 3), "in training mode its forward raises KeyError: 'statistics'"),
    "no settings": (SomeonesConv(4, 6, 3), "its sampling_stride is None"),
    "steps of a tensor": (changed(Delinear(4, 2), n_iter="5"), "its n_iter is '5', not a whole"),
    "no eps": (changed(Delinear(4, 2), eps=None), "its eps is None, not a number"),
    "no distance": (changed(ChannelDeconv(2), sampling_stride=0), "its sampling_stride is 0"),
    "other form": (PlusPlusConv(4, 6, 3, norm="layernorm"), "has no known form in training mode"),
}


@pytest.mark.parametrize(("layer", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_trains_otherwise_is_refused_with_its_name_and_the_reason(layer, reason):
    network = nn.Sequential(nn.ReLU(), layer)
    with pytest.raises(UnsupportedLayerError) as refusal:
        on_batch_statistics(network, recognise(network))
    assert f"layer 1 ({type(layer).__name__}): " in refusal.value.problem
    assert reason in refusal.value.problem
    assert "running statistics" in refusal.value.remedy


def test_every_refused_layer_is_named_at_once():
    network = nn.Sequential(SomeonesConv(4, 4, 3), FastDeconv(4, 4, 3), SomeonesConv(4, 6, 3))
    with pytest.raises(UnsupportedLayerError) as refusal:
        on_batch_statistics(network, recognise(network))
    assert "layer 0 (" in refusal.value.problem
    assert "layer 2 (" in refusal.value.problem
    assert "layer 1 (" not in refusal.value.problem


def test_warnings_about_the_running_statistics_do_not_apply():
    network = nn.Sequential(FastDeconv(4, 6, 3))
    recognition = recognise(network)
    assert recognition.warnings
    assert on_batch_statistics(network, recognition).warnings == ()


def network():
    torch.manual_seed(0)
    layers = nn.Sequential(
        # The running D of the first has more entries than a copy of a network keeps for itself.
        FastDeconv(32, 8, 3, padding=1, freeze=True, freeze_iter=1),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        ChannelDeconv(3),
        nn.Flatten(),
        Delinear(8 * 36, 5, block=8),
    )
    layers.train()
    with torch.no_grad():
        for seed in range(3):
            layers(torch.randn(16, 32, 6, 6, generator=torch.Generator().manual_seed(seed)))
    return layers


def expected(network, x):
    """In training mode layer by layer, but for BatchNorm and Dropout."""
    wide = copy.deepcopy(network).double()
    wide[0].freeze = False
    for index, layer in enumerate(wide):
        layer.train(index in (0, 3, 5))
        x = layer(x)
    return x.detach().numpy()


@pytest.fixture(name="x")
def images():
    return torch.randn(4, 32, 6, 6, generator=torch.Generator().manual_seed(9)) + 0.3


@pytest.mark.parametrize("training", [True, False])
def test_the_twin_computes_as_in_training_but_for_everything_else(x, training):
    original = network().train(training)
    twin = batch_statistics_twin(original, recognise(original))
    with torch.no_grad():
        first, again = twin(x), twin(x)
        np.testing.assert_array_equal(first, again)
        wide = float64_twin(twin)(x.double()).numpy()
        narrow = float32_copy(twin)
        with widened_in_turn(narrow):
            in_turn = narrow(x.double()).numpy()
    y = expected(original, x.double())
    np.testing.assert_allclose(first, y, rtol=0, atol=1e-4 * np.abs(y).max())
    np.testing.assert_allclose(wide, y, rtol=0, atol=1e-11 * np.abs(y).max())
    np.testing.assert_allclose(in_turn, y, rtol=0, atol=1e-11 * np.abs(y).max())


def test_the_users_network_is_left_as_it_was(x):
    original = network()
    before, counter = copy.deepcopy(original.state_dict()), original[0].counter
    recognition = on_batch_statistics(original, recognise(original))
    twin = batch_statistics_twin(original, recognition)
    with torch.no_grad():
        twin(x)
        float32_copy(twin)(x)
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())
    assert original[0].counter == counter
    assert original[0].freeze
    assert original.training
    assert not original[0]._forward_pre_hooks
    assert not twin.training


def test_a_layer_that_raises_is_left_in_eval_mode():
    original = nn.Sequential(FastDeconv(4, 6, 3))
    twin = batch_statistics_twin(original, recognise(original))
    with pytest.raises(RuntimeError):
        twin(torch.zeros(2, 3, 7, 7))
    assert not twin[0].training

import copy
import re

import pytest
import torch
from foreign_layers import SomeonesConv, SomeonesLinear, SomeonesNorm
from torch import nn

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.nd.recognise import recognise


def only(module):
    (layer,) = recognise(module).layers
    return layer


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (SomeonesConv(6, 4, 3, padding=1), "FastDeconv"),
        (SomeonesConv(8, 4, 3, block=2, stride=2, padding=1), "FastDeconv"),
        (SomeonesConv(8, 4, 1, block=4), "FastDeconv"),
        (SomeonesConv(8, 12, 3, groups=4, dilation=2, padding=2), "FastDeconv"),
        (SomeonesConv(6, 6, 3, groups=6, padding=1), "FastDeconv"),
        (SomeonesConv(6, 4, 3, bias=False), "FastDeconv"),
        (SomeonesConv(6, 4, 3, bias=False, keep_mean=False), "FastDeconv without mean"),
        (SomeonesLinear(12, 5, block=4), "Delinear"),
        (SomeonesLinear(12, 5, block=4, bias=False), "Delinear"),
        (SomeonesLinear(12, 5, block=4, bias=False, keep_mean=False), "Delinear without mean"),
        (SomeonesNorm(4), "ChannelDeconv"),
    ],
)
def test_a_foreign_layer_is_known_by_what_it_computes(module, formula):
    layer = only(module)
    assert layer.formula.name == formula
    assert layer.class_name.startswith("Someones")
    assert layer.probe_error <= 1e-10


def test_our_own_layers_are_known_in_a_network_by_their_paths():
    network = nn.Sequential(
        FastDeconv(4, 8, 3, padding=1),
        nn.Sequential(FastDeconv(8, 8, 3, groups=8), ChannelDeconv(3)),
        nn.Flatten(),
        Delinear(8, 2),
    )
    found = [(layer.path, layer.formula.name) for layer in recognise(network).layers]
    assert found == [
        ("0", "FastDeconv"),
        ("1.0", "FastDeconv"),
        ("1.1", "ChannelDeconv"),
        ("3", "Delinear"),
    ]


def test_the_other_block_order_is_refused_with_the_difference_to_each_formula():
    network = nn.Sequential(nn.ReLU(), SomeonesConv(8, 4, 3, block=4, reverse=True))
    with pytest.raises(UnsupportedLayerError) as error:
        recognise(network)
    assert "layer 1 (SomeonesConv) computes no known ND formula" in error.value.problem
    assert "not FastDeconv: output differs by" in error.value.problem
    assert re.search(r"not Delinear, .*: weight is \(4, 8, 3, 3\), not 2-D", error.value.problem)
    assert re.search(r"not ChannelDeconv.*: it has no running_mean1", error.value.problem)


def test_a_weight_that_is_no_affine_map_behind_d_is_refused():
    module = SomeonesNorm(4)
    module.weight, module.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    with pytest.raises(UnsupportedLayerError, match="ChannelDeconv and affine map: output differs"):
        recognise(module)


def test_a_per_sample_norm_in_front_is_refused_by_the_probe():
    class Normed(SomeonesConv):
        def forward(self, x):
            return super().forward(x / x.abs().mean())

    with pytest.raises(UnsupportedLayerError, match="output differs by"):
        recognise(Normed(6, 4, 3))


def test_reflection_padding_is_refused():
    module = SomeonesConv(6, 4, 3, padding=1)
    module.padding_mode = "reflect"
    with pytest.raises(UnsupportedLayerError, match="padding_mode 'reflect'"):
        recognise(module)


def test_a_layer_whose_forward_raises_is_refused_with_what_it_raised():
    class Broken(SomeonesConv):
        def forward(self, x):
            raise TypeError("bias is None")

    with pytest.raises(UnsupportedLayerError, match="its forward raises TypeError: bias is None"):
        recognise(Broken(6, 4, 3))


def test_every_unsupported_layer_is_named_at_once():
    network = nn.Sequential(
        SomeonesConv(8, 8, 3, block=4, reverse=True), SomeonesConv(8, 4, 3, block=4, reverse=True)
    )
    with pytest.raises(UnsupportedLayerError) as error:
        recognise(network)
    assert "layer 0" in error.value.problem
    assert "layer 1" in error.value.problem


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_deconv"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite_is_named(name, value):
    module = SomeonesConv(6, 4, 3)
    with torch.no_grad():
        getattr(module, name).view(-1)[3] = value
    with pytest.raises(UnsupportedLayerError, match=f"{name} holds NaN or Inf"):
        recognise(nn.Sequential(module))


def test_nan_that_a_block_larger_than_the_channels_leaves_is_legal():
    module = SomeonesNorm(8)
    module.running_deconv.fill_(float("nan"))
    module.running_mean1.fill_(float("nan"))
    assert only(module).formula.name == "ChannelDeconv"


def test_a_layer_that_was_never_trained_is_warned_about():
    (warning,) = recognise(nn.Sequential(FastDeconv(4, 8, 3))).warnings
    assert "layer 0: D is the identity" in warning


def test_a_condition_number_beyond_what_the_iteration_can_give_is_warned_about_with_both_numbers():
    layer = FastDeconv(4, 8, 1, n_iter=5)
    layer.running_deconv.copy_(torch.diag(torch.tensor([1.0, 2.0, 3.0, 40.0])))
    (warning,) = recognise(nn.Sequential(layer)).warnings
    assert "cond(D) = 40" in warning
    assert "7.594" in warning
    assert "5 Newton-Schulz steps" in warning


def test_an_asymmetric_d_is_warned_about():
    layer = FastDeconv(4, 8, 1)
    layer.running_deconv[0, 3] += 0.5
    (warning,) = recognise(nn.Sequential(layer)).warnings
    assert "asymmetric by 5.0e-01" in warning


def test_a_trained_layer_is_not_warned_about():
    layer = FastDeconv(4, 8, 3, padding=1)
    for step in range(20):
        layer(torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(step)))
    assert recognise(nn.Sequential(layer)).warnings == ()


def test_the_network_is_left_as_it_was():
    network = nn.Sequential(SomeonesConv(4, 8, 3), SomeonesNorm(4, counted=0)).train()
    before = copy.deepcopy(network.state_dict())
    recognise(network)
    assert network.training
    assert network[0].weight.dtype == torch.float32
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_half_precision_and_batch_norm_are_no_obstacle():
    network = nn.Sequential(SomeonesConv(4, 8, 3).half(), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))
    assert [layer.path for layer in recognise(network).layers] == ["0"]


def test_a_layer_under_two_names_is_found_once():
    layer = SomeonesConv(4, 4, 3, padding=1)
    assert len(recognise(nn.Sequential(layer, nn.ReLU(), layer)).layers) == 1

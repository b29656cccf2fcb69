"""Ops that write to their input, and batch normalisation beside ND."""

import copy

import pytest
import torch
from checked_conversion import MAPS, converted, ops, places, trained_on_maps
from small_networks import error, in_float64, trained
from torch import nn
from torch.nn import functional

from nd_deploy.nd.layers import ChannelDeconv, FastDeconv


def adds(x, f, g):
    y = f(x)
    z = y.relu()
    y += z
    return g(torch.cat([y, z], 1))


def scales(x, f, g):
    y = f(x)
    kept = y
    y.mul_(0.5).add_(1)
    return g(torch.cat([kept, x], 1))


def writes_through_a_view(x, f, g):
    y = f(x)
    first, rest = y[:, :1], y.flatten(2)
    rest.clamp_(min=0)
    first.neg_()
    return g(torch.cat([y, y.add_(x)], 1))


def writes_to_its_input(x, f, g):
    y = f(x)
    x.relu_()
    return g(torch.cat([x, y], 1))


class TestInPlace:
    """A tensor that a later op overwrites is seen overwritten by whoever reads it after that."""

    class DenseLayer(nn.Module):
        """ReLU, 1x1, ReLU, 3x3 and a concatenation, as in the authors' ImageNet DenseNet."""

        def __init__(self, inplace):
            super().__init__()
            self.layers = nn.Sequential(
                nn.ReLU(inplace),
                FastDeconv(4, 8, 1),
                nn.ReLU(inplace),
                FastDeconv(8, 4, 3, padding=1),
            )
            self.norm = ChannelDeconv(4)

        def forward(self, x):
            x = x * 1
            return functional.relu(self.norm(torch.cat([x, self.layers(x)], 1)))

    def test_a_relu_in_place_reaches_the_concatenation_around_it(self, tmp_path):
        torch.manual_seed(0)
        network = trained(self.DenseLayer(inplace=True), (4, 6, 6))
        bundle = converted(network, tmp_path)
        assert places(bundle) == {"layers.1": "folded", "layers.3": "folded", "norm": "lowered"}
        not_in_place = copy.deepcopy(network)
        for layer in not_in_place.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        assert error(in_float64(not_in_place, MAPS), in_float64(network, MAPS)) > 0.1

    def test_a_relu_that_is_not_in_place_does_not(self, tmp_path):
        torch.manual_seed(0)
        converted(trained(self.DenseLayer(inplace=False), (4, 6, 6)), tmp_path)

    @pytest.mark.parametrize(
        "function",
        [adds, scales, writes_through_a_view, writes_to_its_input],
        ids=lambda function: function.__name__,
    )
    def test_arithmetic_in_place_reaches_what_is_read_later(self, function, tmp_path):
        torch.manual_seed(1)
        layers = FastDeconv(4, 4, 3, padding=1), FastDeconv(8, 3, 1)
        before = MAPS.clone()
        converted(trained_on_maps(function, *layers), tmp_path)
        assert torch.equal(MAPS, before)


# What is called with a padded convolution, a batch norm, a ChannelDeconv and a 1x1 convolution,
# and the ops that are to be left of it.
CHAINS = {
    "conv, bn, deconv": (
        lambda x, conv, norm, deconv, last: deconv(norm(conv(x))).relu(),
        ["Conv", "Relu"],
    ),
    "conv, deconv, bn": (
        lambda x, conv, norm, deconv, last: norm(deconv(conv(x))).relu(),
        ["Conv", "Relu"],
    ),
    "bn, deconv, conv": (
        lambda x, conv, norm, deconv, last: last(deconv(norm(x.relu()))),
        ["Relu", "BatchNormalization", "Conv"],
    ),
    "relu, deconv, bn": (
        lambda x, conv, norm, deconv, last: norm(deconv(x.relu())),
        ["Relu", "Conv"],
    ),
    "deconv, bn, padded conv": (
        lambda x, conv, norm, deconv, last: conv(norm(deconv(x.relu()))),
        ["Relu", "Conv", "Conv"],
    ),
}


class TestMixedWithBatchNorm:
    """Batch normalisation beside ND, as the authors' ImageNet networks keep it."""

    def test_a_block_with_batch_norm_in_its_downsampling_branch_alone(self, tmp_path):
        def block(x, first, second, down, norm):
            y = second(first(x).relu())
            return (y + norm(down(x))).relu()

        torch.manual_seed(12)
        layers = (
            FastDeconv(4, 6, 3, stride=2, padding=1),
            FastDeconv(6, 6, 3, padding=1),
            FastDeconv(4, 6, 1, stride=2),
            nn.BatchNorm2d(6),
        )
        bundle = converted(trained_on_maps(block, *layers), tmp_path)
        assert sorted(ops(bundle)) == ["Add", "Conv", "Conv", "Conv", "Relu", "Relu"]
        assert bundle.manifest.nd_layers == 3

    def test_a_batch_normalised_network_with_a_stem_of_nd(self, tmp_path):
        torch.manual_seed(13)
        body = nn.Sequential(
            FastDeconv(4, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(inplace=True),
            nn.BatchNorm2d(6),
            nn.Conv2d(6, 3, 1),
        )
        bundle = converted(trained_on_maps(lambda x, body: body(x), body), tmp_path)
        # The one behind an activation has no layer to fold into.
        assert ops(bundle).count("BatchNormalization") == 1

    @pytest.mark.parametrize("chain", CHAINS)
    def test_batch_norm_next_to_a_channel_deconv(self, chain, tmp_path):
        function, expected = CHAINS[chain]
        torch.manual_seed(14)
        layers = (
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            ChannelDeconv(3),
            nn.Conv2d(4, 3, 1),
        )
        bundle = converted(trained_on_maps(function, *layers), tmp_path)
        assert ops(bundle) == expected

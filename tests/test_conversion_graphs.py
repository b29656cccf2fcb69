"""Layers, weights and tensors that several places of a network share."""

import onnx
import torch
from checked_conversion import converted, ops, places, trained_on_maps
from torch import nn
from torch.nn import functional

import nd_deploy
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv


class TestSharing:
    def test_a_layer_that_is_used_on_maps_of_two_sizes_folds_at_both(self, tmp_path):
        def pyramid(x, f):
            return f(x), f(functional.max_pool2d(x, 2)), f(f(x))

        torch.manual_seed(2)
        bundle = converted(trained_on_maps(pyramid, FastDeconv(4, 4, 3, padding=1)), tmp_path)
        assert set(places(bundle).values()) == {"folded"}
        assert ops(bundle).count("Conv") == len(bundle.decisions) == 4
        verification = nd_deploy.verify(bundle.path, per_layer=True)
        assert verification.report.passed
        assert [(layer.layer, layer.passed) for layer in verification.layers] == [
            ("layers.0", True)
        ]

    def test_a_layer_is_followed_by_batch_norm_in_one_of_its_two_places_only(self, tmp_path):
        def twice(x, f, norm):
            return norm(f(x)) + f(x.relu())

        torch.manual_seed(3)
        layers = FastDeconv(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        bundle = converted(trained_on_maps(twice, *layers), tmp_path)
        assert "BatchNormalization" not in ops(bundle)

    def test_a_channel_deconv_folds_where_it_can_and_stays_where_it_cannot(self, tmp_path):
        def twice(x, deconv, conv):
            pooled = functional.avg_pool2d(deconv(x), 2)
            return conv(pooled), deconv(x.sigmoid()).relu()

        torch.manual_seed(4)
        layers = ChannelDeconv(2), nn.Conv2d(4, 3, 1)
        bundle = converted(trained_on_maps(twice, *layers), tmp_path)
        assert sorted(places(bundle).values()) == ["forward", "lowered"]

    def test_a_convolution_behind_a_channel_deconv_in_one_of_its_places_keeps_its_weight(
        self, tmp_path
    ):
        def twice(x, deconv, conv):
            return conv(deconv(x)), conv(x)

        torch.manual_seed(5)
        layers = ChannelDeconv(2), nn.Conv2d(4, 3, 1)
        bundle = converted(trained_on_maps(twice, *layers), tmp_path)
        assert places(bundle) == {"layers.0": "forward"}

    def test_a_weight_that_nd_shares_with_a_plain_convolution_is_folded_for_the_one_alone(
        self, tmp_path
    ):
        torch.manual_seed(6)
        nd, plain = FastDeconv(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        plain.weight, plain.bias = nd.weight, nd.bias
        network = trained_on_maps(lambda x, f, g: (f(x), g(x)), nd, plain)
        bundle = converted(network, tmp_path)
        weights = [i for i in onnx.load(bundle.model_path).graph.initializer if len(i.dims) == 4]
        assert len(weights) == 2

    def test_a_weight_that_two_nd_layers_share_is_folded_with_each_ones_own_d(self, tmp_path):
        torch.manual_seed(7)
        first, second = FastDeconv(4, 4, 3, padding=1), FastDeconv(4, 4, 3, padding=1)
        second.weight = first.weight
        converted(trained_on_maps(lambda x, f, g: g(f(x).relu()), first, second), tmp_path)

    def test_a_weight_that_is_also_used_transposed_is_folded_for_its_layer_alone(self, tmp_path):
        def tied(x, encoder):
            code = encoder(x.mean((2, 3)))
            return functional.linear(code.relu(), encoder.weight.T)

        torch.manual_seed(8)
        bundle = converted(trained_on_maps(tied, Delinear(4, 6)), tmp_path)
        assert "Transpose" not in ops(bundle)


class TestSeveralConsumers:
    def layers(self):
        torch.manual_seed(9)
        return ChannelDeconv(2), nn.Conv2d(4, 3, 1), nn.Conv2d(4, 2, 3, padding=1)

    def test_every_linear_layer_that_reads_a_channel_deconv_takes_it_up(self, tmp_path):
        def two(x, deconv, first, second):
            y = deconv(x.relu())
            return first(y), second(functional.avg_pool2d(y, 2)), first(y.mean((2, 3), True))

        bundle = converted(trained_on_maps(two, *self.layers()), tmp_path)
        # The second pads with zeros, so that the mean is subtracted in front of all.
        assert places(bundle) == {"layers.0": "centred"}
        assert ops(bundle).count("Sub") == 1
        assert ops(bundle).count("Conv") == 3

    def test_pooling_flattening_and_concatenation_lie_on_the_way_to_them(self, tmp_path):
        def branches(x, deconv, conv, linear):
            y = deconv(x.relu())
            pooled = functional.adaptive_avg_pool2d(y, 1)
            wide = functional.interpolate(pooled, size=(6, 6), mode="bilinear")
            return conv(torch.cat([y, wide], 1)), linear(pooled.flatten(1))

        torch.manual_seed(10)
        layers = ChannelDeconv(3), nn.Conv2d(8, 3, 1), nn.Linear(4, 5)
        bundle = converted(trained_on_maps(branches, *layers), tmp_path)
        assert places(bundle) == {"layers.0": "forward"}
        assert "Sub" not in ops(bundle)

    def test_one_reader_that_is_no_linear_layer_keeps_it_whole_for_all(self, tmp_path):
        def mixed(x, deconv, first, second):
            y = deconv(x.relu())
            return first(y), second(y), y.tanh()

        bundle = converted(trained_on_maps(mixed, *self.layers()), tmp_path)
        assert places(bundle) == {"layers.0": "lowered"}

    def test_a_channel_deconv_that_is_an_output_itself_stays_one(self, tmp_path):
        def both(x, deconv, first, second):
            y = deconv(first(x)[:, [0, 1, 2, 0]])
            return y, second(y)

        bundle = converted(trained_on_maps(both, *self.layers()), tmp_path)
        assert places(bundle) == {"layers.0": "lowered"}

    def test_a_layer_that_feeds_a_channel_deconv_and_a_sum_is_left_alone(self, tmp_path):
        def residual(x, deconv, conv):
            y = conv(x)
            return deconv(y).relu() + y

        torch.manual_seed(11)
        layers = ChannelDeconv(2), nn.Conv2d(4, 4, 3, padding=1)
        bundle = converted(trained_on_maps(residual, *layers), tmp_path)
        assert places(bundle) == {"layers.0": "lowered"}

    def test_a_channel_deconv_on_one_side_of_a_sum_folds_backward_only(self, tmp_path):
        def residual(x, deconv, conv):
            return (deconv(conv(x)) + x).relu()

        torch.manual_seed(11)
        layers = ChannelDeconv(2), nn.Conv2d(4, 4, 3, padding=1)
        bundle = converted(trained_on_maps(residual, *layers), tmp_path)
        assert places(bundle) == {"layers.0": "backward"}

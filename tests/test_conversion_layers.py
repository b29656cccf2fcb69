import numpy as np
import onnx
import torch
from small_networks import Network, SomeonesConv, error, in_float64, in_onnxruntime, trained
from torch import nn

import nd_deploy
from nd_deploy.nd.layers import ChannelDeconv, FastDeconv


def ops(bundle):
    return [node.op_type for node in onnx.load(bundle.model_path).graph.node]


def actions(bundle):
    return [decision["action"] for decision in bundle.decisions]


def test_layers_of_someone_elses_fold_with_the_batch_norm_behind_them(tmp_path):
    torch.manual_seed(4)
    network = nn.Sequential(
        SomeonesConv(6, 8, 3, 1, block=2), nn.BatchNorm2d(8), nn.ReLU(), FastDeconv(8, 4, 1)
    )
    trained(network, (6, 7, 7))
    x = torch.randn(2, 6, 7, 7)
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    assert ops(bundle) == ["Conv", "Relu", "Conv"]
    assert bundle.manifest.nd_layers == 2
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6
    # The convolution's output is now the batch norm's, so it is not compared with the layer's.
    layers = nd_deploy.verify(bundle.path, per_layer=True).layers
    assert [layer.layer for layer in layers] == ["3"]
    assert layers[0].passed


def test_a_channel_deconv_in_front_of_zero_padding_keeps_its_sub_and_is_right_at_the_border(
    tmp_path,
):
    torch.manual_seed(5)
    layers = nn.Sequential(ChannelDeconv(2), nn.Conv2d(4, 3, 3, padding=1))
    network = trained(layers, (4, 8, 8))
    network[0].running_mean1.fill_(1.5)
    x = torch.randn(2, 4, 8, 8)
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    assert ops(bundle) == ["Sub", "Conv"]
    assert actions(bundle) == ["centred"]
    (y,) = in_onnxruntime(bundle.model_path, x)
    truth = in_float64(network, x).numpy()
    border = np.ones((8, 8), bool)
    border[1:-1, 1:-1] = False
    assert error(y[..., border], truth[..., border]) < 1e-6
    assert error(y[..., ~border], truth[..., ~border]) < 1e-6
    # Folding the mean into the bias would be wrong there, so this test can tell.
    with torch.no_grad():
        shift = network[1](network[0].eval()(torch.zeros(1, 4, 8, 8))).numpy()
    assert np.abs(shift[..., border] - shift[..., 4:5, 4]).max() > 0.1 * np.abs(truth).max()


def test_a_channel_deconv_between_a_concat_and_a_relu_becomes_a_1x1_convolution(tmp_path):
    def dense(x, conv, deconv):
        return deconv(torch.cat([x, conv(x)], 1)).relu()

    torch.manual_seed(6)
    network = trained(Network(dense, FastDeconv(4, 4, 3, padding=1), ChannelDeconv(4)), (4, 6, 6))
    x = torch.randn(2, 4, 6, 6)
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    assert ops(bundle) == ["Conv", "Concat", "Conv", "Relu"]
    assert actions(bundle) == ["folded", "lowered"]
    kernels = [
        attribute.ints[:]
        for node in onnx.load(bundle.model_path).graph.node
        for attribute in node.attribute
        if attribute.name == "kernel_shape"
    ]
    assert kernels[-1] == [1, 1]
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6


def test_a_number_in_the_networks_code_that_the_exporter_rounds_is_told_from_a_wrong_fold(
    tmp_path,
):
    torch.manual_seed(7)
    network = trained(Network(lambda x, f: f(x) * 0.70710678118, FastDeconv(3, 4, 1)), (3, 5, 5))
    x = torch.randn(2, 3, 5, 5)
    bundle = nd_deploy.convert(network, x, tmp_path / "out")
    fold = bundle.parity.gates[0]
    assert fold.passed
    assert fold.error < 1e-14
    assert "torch.onnx's own export differs from PyTorch by" in fold.compares
    (y,) = in_onnxruntime(bundle.model_path, x)
    assert error(y, in_float64(network, x)) < 1e-6

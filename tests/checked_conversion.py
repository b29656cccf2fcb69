"""Conversion of a small network, of which every output is compared with PyTorch in float64."""

import onnx
import torch
from small_networks import Network, error, in_float64, in_onnxruntime, trained
from torch import nn

import nd_deploy

MAPS = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(1))


def trained_on_maps(function, *layers):
    """A network that was trained on inputs like MAPS, none of its parameters left as a default."""
    network = trained(Network(function, *layers), (4, 6, 6))
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
    return network


def converted(network, folder, x=MAPS):
    """The bundle, of which every output is compared with the network's own."""
    bundle = nd_deploy.convert(network, x, folder / "out", keep_unfolded=True)
    truth = in_float64(network, x)
    expected = truth if isinstance(truth, tuple) else (truth,)
    for actual, y in zip(in_onnxruntime(bundle.model_path, x), expected, strict=True):
        assert error(actual, y) < 1e-6
    assert bundle.parity.gates[0].compares == "folded graph in float64 against PyTorch in float64"
    return bundle


def ops(bundle):
    return [node.op_type for node in onnx.load(bundle.model_path).graph.node]


def places(bundle):
    return {decision["layer"]: decision["action"] for decision in bundle.decisions}

"""Small ND networks, and PyTorch's float64 outputs of them."""

import copy
import math

import numpy as np
import onnxruntime
import torch
from torch import nn

from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv


def trained(network, *shapes, steps=5):
    """The network after a few training steps on random inputs of these shapes."""
    generator = torch.Generator().manual_seed(3)
    network.train()
    with torch.no_grad():
        for _ in range(steps):
            network(*(torch.randn(16, *shape, generator=generator) + 0.3 for shape in shapes))
    return network


def small_network():
    """One of every ND layer; takes images of any size."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        FastDeconv(3, 8, 3, padding=1),
        nn.ReLU(),
        FastDeconv(8, 8, 3, stride=2, padding=1, groups=8),
        nn.ReLU(),
        ChannelDeconv(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        Delinear(8, 5),
    )
    return trained(layers, (3, 9, 11))


def tiny_network():
    """One FastDeconv, for what does not depend on the network."""
    torch.manual_seed(0)
    return trained(nn.Sequential(FastDeconv(3, 4, 1), nn.ReLU()), (3, 4, 4))


class SomeonesConv(nn.Module):
    """FastDeconv as someone else writes it: an explicit product with a Kronecker product."""

    def __init__(self, cin, cout, kernel, padding, block):
        super().__init__()
        self.stride, self.padding, self.dilation, self.groups = 1, padding, 1, 1
        generator = torch.Generator().manual_seed(7)
        features = kernel**2 * block
        weight = torch.randn(cout, cin, kernel, kernel, generator=generator)
        self.weight = nn.Parameter(weight / math.sqrt(cin))
        self.bias = None
        mixing = torch.randn(features, 2 * features, generator=generator)
        self.register_buffer(
            "running_deconv", torch.eye(features) + mixing @ mixing.T / (2 * features)
        )
        self.register_buffer("running_mean", torch.randn(features, generator=generator))

    def forward(self, x):
        w = self.weight.flatten(1)
        eye = torch.eye(w.shape[1] // len(self.running_mean), dtype=w.dtype)
        w = w @ torch.kron(self.running_deconv, eye)
        bias = -w @ torch.kron(self.running_mean, eye.diagonal())
        return nn.functional.conv2d(x, w.reshape(self.weight.shape), bias, padding=self.padding)


class Network(nn.Module):
    """Layers, and a function that calls them."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


def in_float64(network, *inputs):
    """PyTorch's own outputs, in eval mode and in float64."""
    wide = copy.deepcopy(network).eval().double()
    with torch.no_grad():
        return wide(*(x.double() for x in inputs))


def in_onnxruntime(path, *inputs):
    """All outputs of a model's file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))


def error(actual, truth):
    """max|actual - truth| / max|truth|."""
    actual, truth = np.asarray(actual, np.float64), np.asarray(truth, np.float64)
    assert actual.shape == truth.shape
    return np.abs(actual - truth).max() / np.abs(truth).max()

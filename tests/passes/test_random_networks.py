"""Whole networks, drawn at random: every pass leaves a model that computes the same."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
from graphs import (
    assert_close,
    assert_same_outputs,
    feeds,
    geometry,
    in_float64,
    in_onnxruntime,
    parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nd_deploy.nd.dialect import DOMAIN
from nd_deploy.passes.base import Action
from nd_deploy.passes.model import load, store
from nd_deploy.passes.pipeline import PASSES, run_passes

PROFILE = settings(max_examples=80, deadline=None, derandomize=True)


@dataclass
class Network:
    """ONNX text that grows layer by layer, with the shape (C, H, W) that has been reached."""

    random: Random
    shape: tuple
    tensor: str = "x"
    lines: list = field(default_factory=list)
    parameters: list = field(default_factory=list)

    def choose(self, *options):
        return self.random.choice(options)

    def parameter(self, name, *shape):
        self.parameters.append(f"float[{','.join(map(str, shape))}] {name}{len(self.parameters)}")
        return self.parameters[-1].split()[-1]

    def node(self, op, *more, attributes="", shape=None, source=None):
        """Append a node that reads the last tensor; its output becomes the last."""
        self.tensor, read = f"t{len(self.lines)}", source or self.tensor
        arguments = ", ".join((read, *more))
        attributes = f"<{attributes}>" if attributes else ""
        name = f"[layer_{len(self.lines)}]"
        self.lines.append(f"{name} {self.tensor} = {op} {attributes} ({arguments})")
        self.shape = shape or self.shape
        return self.tensor

    def text(self, height, width):
        source = f"float[N,{IMAGE[0]},{height},{width}] x"
        self.lines[-1] = self.lines[-1].replace(f" {self.tensor} = ", " y = ")
        return (
            f"({source}) => (float[] y) <{', '.join(self.parameters)}> {{ {' '.join(self.lines)} }}"
        )


IMAGE = (4, 9, 8)


def window(network):
    """A kernel, stride and padding that fit, and the positions that they leave."""
    kernel = network.choose(1, 3) if min(network.shape[1:]) >= 3 else 1
    stride = network.choose(1, 1, 2)
    padding = network.choose(0, 1) if kernel == 3 else 0
    sizes = [(size + 2 * padding - kernel) // stride + 1 for size in network.shape[1:]]
    return kernel, stride, padding, sizes


def fast_deconv(network):
    channels = network.shape[0]
    kernel, stride, padding, sizes = window(network)
    groups = network.choose(*(g for g in (1, 1, 2, channels) if channels % g == 0))
    entries = channels // groups * kernel**2
    features = entries
    if groups == 1:
        features //= network.choose(*(d for d in (1, 2, 4) if channels % d == 0))
    outputs = groups * network.choose(1, 2) if groups > 1 else network.choose(4, 6)
    network.node(
        "nd_deploy.NDFastDeconv",
        network.parameter("w", outputs, channels // groups, kernel, kernel),
        network.parameter("b", outputs),
        network.parameter("mu", groups, features),
        network.parameter("D", groups, features, features),
        attributes=geometry(kernel, stride, padding, group=groups),
        shape=(outputs, *sizes),
    )


def convolution(network):
    kernel, stride, padding, sizes = window(network)
    outputs = network.choose(4, 6)
    weight = network.parameter("w", outputs, network.shape[0], kernel, kernel)
    bias = [network.parameter("b", outputs)] if network.choose(True, False) else []
    pads = f"strides=[{stride},{stride}], pads=[{','.join([str(padding)] * 4)}]"
    network.node("Conv", weight, *bias, attributes=pads, shape=(outputs, *sizes))


def batch_norm(network):
    names = ("scale", "shift", "mean", "var")
    statistics = [network.parameter(name, network.shape[0]) for name in names]
    network.node("BatchNormalization", *statistics, attributes="epsilon=0.001")


def channel_deconv(network):
    channels = network.shape[0]
    block = network.choose(*{1, 2, 3, channels, channels + 1})
    parameters = [network.parameter("mu", block), network.parameter("D", block, block)]
    if channels % block == 0:
        network.node("nd_deploy.NDChannelDeconv", *parameters)
        return
    parameters += [network.parameter("mean", 1), network.parameter("var_scale", 1)]
    network.node("nd_deploy.NDChannelDeconvLeftover", *parameters)


def relu(network):
    network.node("Relu")


def whitened_convolution(network):
    for layer in (relu, channel_deconv, pooling, convolution):
        layer(network)


def nothing(network):
    network.node(network.choose("Identity", "Dropout"))


def pooling(network):
    channels, *sizes = network.shape
    if min(sizes) < 3:
        return
    op = network.choose("AveragePool", "AveragePool", "MaxPool")
    padding = network.choose(0, 1)
    counted = op == "AveragePool" and network.choose(True, False)
    attributes = f"kernel_shape=[3,3], strides=[2,2], pads=[{','.join([str(padding)] * 4)}]"
    attributes += ", count_include_pad=1" if counted else ""
    left = [(size + 2 * padding - 3) // 2 + 1 for size in sizes]
    network.node(op, attributes=attributes, shape=(channels, *left))


def branches(network):
    """Two ways from one tensor, joined again by a sum or side by side."""
    start, shape = network.tensor, network.shape
    ends = []
    for _ in range(2):
        network.tensor, network.shape = start, shape
        for _ in range(network.choose(0, 1, 2)):
            network.choose(relu, channel_deconv, batch_norm, nothing)(network)
        ends.append(network.tensor)
    if ends[0] == ends[1]:
        return
    if network.choose(True, False):
        network.node("Add", ends[1], source=ends[0])
    else:
        joined = (2 * shape[0], *shape[1:])
        network.node("Concat", ends[1], attributes="axis=1", shape=joined, source=ends[0])


def linear(network):
    features, outputs = network.shape[0], 4
    weight, bias = network.parameter("w", outputs, features), network.parameter("b", outputs)
    form = network.choose("delinear", "gemm", "matmul")
    if form == "delinear":
        block = network.choose(*(d for d in (1, 2, features) if features % d == 0))
        moments = network.parameter("mu", block), network.parameter("D", block, block)
        network.node("nd_deploy.NDDelinear", weight, bias, *moments, shape=(outputs,))
    elif form == "gemm":
        network.node("Gemm", weight, bias, attributes="transB=1", shape=(outputs,))
    else:
        network.node("MatMul", network.parameter("w", features, outputs), shape=(outputs,))
        network.node("Add", bias)


def build(random):
    network = Network(random, IMAGE)
    on_maps = (fast_deconv, fast_deconv, convolution, channel_deconv, channel_deconv, batch_norm)
    on_maps += (relu, pooling, branches, nothing, whitened_convolution)
    for _ in range(random.randint(2, 7)):
        network.choose(*on_maps)(network)
    pooled = network.choose(True, False)
    if pooled:
        network.node("GlobalAveragePool", shape=(network.shape[0], 1, 1))
    network.node("Flatten", shape=(int(np.prod(network.shape)),))
    for _ in range(random.randint(0, 3)):
        network.choose(linear, linear, channel_deconv, relu, nothing)(network)
    linear(network)
    network.choose(channel_deconv, batch_norm, relu, nothing, linear)(network)
    sizes = ("H", "W") if pooled and network.choose(True, False) else IMAGE[1:]
    return parse(network.text(*sizes), random.randrange(2**16))


# Seeds, and not choices one by one, since hypothesis would prefer the smallest networks.
networks = st.integers(0, 2**32).map(lambda seed: build(Random(seed)))
SIZES = {"H": IMAGE[1], "W": IMAGE[2]}


@PROFILE
@given(networks)
def test_every_pass_leaves_a_model_that_computes_the_same(model):
    inputs = feeds(model, **SIZES)
    graph = load(model)
    for rewrite in PASSES:
        rewrite(graph)
        assert_same_outputs(model, graph, inputs)


@PROFILE
@given(networks)
def test_every_layer_is_folded_or_lowered_once(model):
    folded = run_passes(model)
    layers = {node.name: node.op_type for node in model.graph.node if node.domain == DOMAIN}
    decisions = [d for d in folded.decisions if d.op_type != "BatchNormalization"]
    assert {d.layer: d.op_type for d in decisions} == layers
    assert len(decisions) == len(layers)
    assert all(d.action is not Action.KEPT for d in decisions)
    assert not [node for node in folded.model.graph.node if node.domain]
    assert not folded.model.functions
    names = {node.name for node in folded.model.graph.node}
    assert all(set(d.into) <= names for d in decisions if d.action is not Action.BACKWARD)


@PROFILE
@given(networks)
def test_the_folded_model_computes_the_same_in_float32(model):
    inputs = feeds(model, seed=7, **SIZES)
    expected = in_onnxruntime(model, inputs, optimise=False)
    folded = run_passes(model).model
    assert_close(in_onnxruntime(folded, inputs), expected, 1e-5)
    assert_close(in_float64(store(load(folded)), inputs), in_float64(model, inputs), 1e-5)

"""The ops that whiten with their batch compute what the layers compute while they train."""

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
import torch
from onnx import numpy_helper, parser
from torch import nn

from nd_deploy.nd.dialect import attach_functions, register_schemas
from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv
from nd_deploy.runtime.reference import ReferenceRunner

HEADER = '<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>'
KINDS = {"float": np.float32, "float16": np.float16, "double": np.float64}


def options(**values):
    return values


CONVOLUTIONS = {
    "one block": options(kernel_size=3, padding=1),
    "blocks of channels": options(kernel_size=3, padding=1, block=2, n_iter=1),
    "every patch": options(kernel_size=3, stride=2, block=4, sampling_stride=1),
    "pixels": options(kernel_size=1, block=4),
    "pixels of a strided layer": options(kernel_size=1, stride=2, block=2, padding=1),
    "every pixel": options(kernel_size=1, sampling_stride=1),
    "large kernel": options(kernel_size=7, padding=3, block=1, sampling_stride=1),
    "unequal sides": options(kernel_size=(1, 3), padding=(0, 2), stride=(2, 1), block=2),
    "dilated": options(kernel_size=3, padding=2, dilation=2, block=4),
    "groups": options(kernel_size=3, padding=1, groups=2),
    "depthwise": options(kernel_size=3, padding=1, groups=8, dilation=(1, 2), n_iter=15),
    "depthwise pixels": options(kernel_size=1, groups=8, sampling_stride=2),
    "many steps": options(kernel_size=3, padding=1, block=2, n_iter=15, eps=1e-2),
    "without bias": options(kernel_size=3, padding=1, block=2, bias=False),
}
LINEARS = {
    "one block": options(block=8),
    "blocks of features": options(block=2, n_iter=15),
    "one step": options(block=4, n_iter=1, bias=False),
}
CHANNELS = {
    "whole blocks": (8, options(block=4)),
    "leftovers": (8, options(block=3, eps=1e-5, n_iter=15)),
    "every value": (8, options(block=3, sampling_stride=1, n_iter=1)),
    "leftovers alone": (2, options(block=3)),
    "one block": (8, options(block=8)),
}


def attributes(**values):
    return ", ".join(
        f"{name}={list(v) if isinstance(v, tuple) else v}" for name, v in values.items()
    )


def convolution(layer):
    """The call of a layer: the node, and the convolution behind it."""
    window = options(
        kernel_shape=layer.kernel_size,
        pads=layer.padding * 2,
        dilations=layer.dilation,
        group=layer.groups,
    )
    own = options(
        sampling_strides=layer.sampling_stride,
        block=layer.block,
        n_iter=layer.n_iter,
        eps=layer.eps,
    )
    return f"""
        w, b = nd_deploy.NDFastDeconvDynamic <{attributes(**window, **own)}> (x, weight, bias)
        y = Conv <{attributes(**window, strides=layer.stride)}> (x, w, b)"""


def linear(layer):
    own = attributes(block=layer.block, n_iter=layer.n_iter, eps=layer.eps)
    return f"""w, b = nd_deploy.NDDelinearDynamic <{own}> (x, weight, bias)
        columns = Transpose <perm=[1, 0]> (w)
        product = MatMul(x, columns)
        y = Add(product, b)"""


def channels(layer):
    own = attributes(
        block=layer.block,
        n_iter=layer.n_iter,
        sampling_stride=layer.sampling_stride,
        eps=layer.eps,
    )
    return f"y = nd_deploy.NDChannelDeconvDynamic <{own}> (x)"


CALLS = {FastDeconv: convolution, Delinear: linear, ChannelDeconv: channels}


def model(layer, axes, kind="float"):
    """A model of one layer, whose parameters are float32 unless it is of doubles."""
    open_axes = ",".join("abcd"[: axes.count(",") + 1])
    text = f"""{HEADER} network ({kind}[{axes}] x) => ({kind}[{open_axes}] y) {{
        {CALLS[type(layer)](layer)} }}"""
    proto = parser.parse_model(text)
    wide = np.float64 if kind == "double" else np.float32
    weight = getattr(layer, "weight", None)
    if weight is not None:
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias
        for name, value in (("weight", weight), ("bias", bias)):
            array = value.detach().numpy().astype(wide)
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    register_schemas()
    attach_functions(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def in_onnxruntime(proto, x):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def in_training(layer, x):
    with torch.no_grad():
        return layer.train().double()(torch.from_numpy(x).double()).numpy()


def batch(*shape, seed=0):
    """Correlated channels with a mean, which leave whitening something to do."""
    generator = np.random.default_rng(seed)
    x = np.einsum(
        "nc...,cd->nd...", generator.normal(size=shape), generator.normal(size=[shape[1]] * 2)
    )
    return (x + 0.5).astype(np.float32)


def check(layer, x, axes):
    y = in_training(layer, x)
    scale = np.abs(y).max()
    found = ReferenceRunner(model(layer, axes, "double")).run({"x": x})["y"]
    np.testing.assert_allclose(found, y, rtol=0, atol=1e-11 * scale)
    found = in_onnxruntime(model(layer, axes), x)
    np.testing.assert_allclose(found, y, rtol=0, atol=2e-5 * scale)


def seeded(kind, *sizes, **given):
    torch.manual_seed(1)
    return kind(*sizes, **given)


@pytest.mark.parametrize("given", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_whitens_with_its_batch_as_in_training(given):
    layer = seeded(FastDeconv, 8, 16, **given)
    check(layer, batch(3, 8, 11, 12), "N,8,H,W")


@pytest.mark.parametrize("given", LINEARS.values(), ids=LINEARS)
@pytest.mark.parametrize(("shape", "axes"), [((9, 8), "N,8"), ((2, 8, 8), "N,T,8")])
def test_a_linear_layer_whitens_with_its_batch_as_in_training(given, shape, axes):
    layer = seeded(Delinear, 8, 5, **given)
    check(layer, batch(*shape), axes)


@pytest.mark.parametrize(("count", "given"), CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("sizes", [(7, 8), (2, 9), ()], ids=["maps", "small maps", "rows"])
def test_channels_are_whitened_with_their_batch_as_in_training(count, given, sizes):
    layer = seeded(ChannelDeconv, **given)
    check(layer, batch(4, count, *sizes), "N,C,H,W" if sizes else "N,C")


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (FastDeconv(8, 4, 3, block=4, sampling_stride=1), (1, 8, 9, 9)),
        (FastDeconv(8, 4, 3, block=4), (1, 8, 3, 3)),
        (Delinear(8, 4, block=2), (1, 8)),
        (ChannelDeconv(3), (1, 8, 6, 6)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_one_image_is_a_batch(layer, shape):
    check(layer, batch(*shape), ",".join(map(str, shape)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (FastDeconv(8, 16, 3, padding=1, block=4), (3, 8, 9, 10)),
        (Delinear(8, 5, block=4), (9, 8)),
        (ChannelDeconv(3), (3, 8, 9, 10)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_statistics_of_a_narrow_input_are_float32_and_outputs_are_rounded_once(layer, shape):
    x = batch(*shape).astype(np.float16)
    y = in_training(layer, x)
    found = in_onnxruntime(model(layer, ",".join(map(str, shape)), "float16"), x)
    assert found.dtype == np.float16
    # One rounding of weight, bias and output each.
    np.testing.assert_allclose(found, y, rtol=0, atol=4e-3 * np.abs(y).max())


def test_the_folded_weight_of_a_bfloat16_input_is_the_float32_one_rounded():
    layer = seeded(FastDeconv, 8, 4, 3, padding=1, block=4)
    call = convolution(layer).partition("y = Conv")[0]
    weights = {}
    for kind in ("float", "bfloat16"):
        text = f"""{HEADER} network (float[3,8,9,10] z) => (float[4,8,3,3] y) {{
            x = Cast <to={onnx.TensorProto.DataType.Value(kind.upper())}> (z)
            {call} y = Cast <to=1> (w) }}"""
        proto = parser.parse_model(text)
        for name in ("weight", "bias"):
            value = getattr(layer, name).detach().numpy()
            proto.graph.initializer.append(numpy_helper.from_array(value, name))
        attach_functions(proto)
        # Whole numbers are the same in both types.
        z = np.round(batch(3, 8, 9, 10))
        settings = onnxruntime.SessionOptions()
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
        weights[kind] = session.run(None, {"z": z})[0]
    rounded = torch.from_numpy(weights["float"]).bfloat16().float().numpy()
    np.testing.assert_array_equal(weights["bfloat16"], rounded)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (FastDeconv(8, 16, 3, padding=1, block=4), (3, 8, 9, 10)),
        (Delinear(8, 5, block=4), (9, 8)),
        (ChannelDeconv(3), (3, 8, 9, 10)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_the_steps_survive_inlining(layer, shape):
    x = batch(*shape)
    proto = onnx.inliner.inline_local_functions(model(layer, ",".join(map(str, shape))))
    assert not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}
    assert [node.op_type for node in proto.graph.node].count("Loop") == 1
    y = in_training(layer, x)
    np.testing.assert_allclose(in_onnxruntime(proto, x), y, rtol=0, atol=2e-5 * np.abs(y).max())


def test_a_dead_channel_whitens_to_finite_numbers():
    x = batch(3, 8, 9, 10)
    x[:, 2] = 0
    check(seeded(FastDeconv, 8, 4, 3, padding=1), x, "N,8,H,W")
    check(seeded(ChannelDeconv, 4), x, "N,C,H,W")

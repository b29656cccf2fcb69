import numpy as np
import pytest
import torch
from onnx import parser
from torch.nn import functional

from nd_deploy.errors import GraphError
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.reference import ReferenceRunner

HEADER = '<ir_version: 10, opset_import: ["": 21]>\n'


def tensor(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def model(signature, body, kind="double", header=HEADER):
    """`T` in the signature stands for the model's float type."""
    text = f"{header}g {signature.replace('T[', kind + '[')} {{ {body} }}"
    return parser.parse_model(text)


def close(found, expected):
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-13, atol=1e-13)


X, W, B = tensor(0, 2, 4, 6, 6), tensor(1, 6, 4, 3, 3), tensor(2, 6)
M, V = tensor(3, 4), tensor(4, 4).abs() + 0.1
S = tensor(5, 4)
ROWS, MATRIX = tensor(6, 3, 5), tensor(7, 4, 5)
EPSILON = 1e-3
# HardSwish's default attribute, which ONNX keeps in float32.
SIXTH = 0.16666667

# (body, feeds, what torch makes of them)
DOUBLE_OPS = {
    "Conv": (
        "y = Conv<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(x, w, b)",
        {"x": X, "w": W, "b": B},
        functional.conv2d(X, W, B, stride=2, padding=1),
    ),
    "Conv without attributes": ("y = Conv(x, w)", {"x": X, "w": W}, functional.conv2d(X, W)),
    "ConvTranspose": (
        "y = ConvTranspose<group=2, strides=[2,2], output_padding=[1,1]>(x, w)",
        {"x": X, "w": tensor(8, 4, 3, 2, 2)},
        functional.conv_transpose2d(X, tensor(8, 4, 3, 2, 2), stride=2, output_padding=1, groups=2),
    ),
    "Gemm": (
        "y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b)",
        {"x": ROWS, "w": MATRIX, "b": M},
        ROWS @ MATRIX.T / 2 + 2 * M,
    ),
    "MatMul": ("y = MatMul(x, w)", {"x": ROWS, "w": MATRIX.T}, ROWS @ MATRIX.T),
    "Relu": ("y = Relu(x)", {"x": X}, X.relu()),
    "Add": ("y = Add(x, w)", {"x": X, "w": X.flip(0)}, X + X.flip(0)),
    "GlobalAveragePool": ("y = GlobalAveragePool(x)", {"x": X}, X.mean((2, 3), keepdim=True)),
    "ReduceMean": (
        "axes = Constant<value_ints=[2,3]>() y = ReduceMean<keepdims=0>(x, axes)",
        {"x": X},
        X.mean((2, 3)),
    ),
    "Flatten": ("y = Flatten(x)", {"x": X}, X.flatten(1)),
    "Reshape": (
        "shape = Constant<value_ints=[0,-1]>() y = Reshape(x, shape)",
        {"x": X},
        X.flatten(1),
    ),
    "Concat": ("y = Concat<axis=1>(x, w)", {"x": X, "w": X * 2}, torch.cat([X, X * 2], 1)),
    "BatchNormalization": (
        "y = BatchNormalization<epsilon=0.001>(x, s, b, m, v)",
        {"x": X, "s": S, "b": M, "m": M, "v": V},
        functional.batch_norm(X, M, V, S, M, eps=EPSILON),
    ),
    "Sigmoid": ("y = Sigmoid(x)", {"x": X * 400}, (X * 400).sigmoid()),
    "Softmax": ("y = Softmax<axis=1>(x)", {"x": X}, X.softmax(1)),
    "Resize": (
        "s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() "
        'y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , s)',
        {"x": X},
        functional.interpolate(X, scale_factor=2, mode="bilinear"),
    ),
    "Clip": (
        "a = Constant<value_float=-0.5>() b = Constant<value_float=0.25>() y = Clip(x, a, b)",
        {"x": X},
        X.clamp(-0.5, 0.25),
    ),
    "Pad": (
        "p = Constant<value_ints=[0,0,1,2,0,0,0,1]>() y = Pad(x, p)",
        {"x": X},
        functional.pad(X, (2, 1, 1, 0)),
    ),
    "MaxPool": (
        "y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)",
        {"x": X},
        functional.max_pool2d(X, 3, 2, 1),
    ),
    "AveragePool": (
        "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)",
        {"x": X},
        functional.avg_pool2d(X, 3, 1, 1, count_include_pad=False),
    ),
    "HardSwish, a function of its schema": (
        "y = HardSwish(x)",
        {"x": X * 4},
        X * 4 * (X * 4 * SIXTH + 0.5).clamp(0, 1),
    ),
    "InstanceNormalization": (
        "y = InstanceNormalization<epsilon=0.001>(x, s, b)",
        {"x": X, "s": S, "b": M},
        functional.instance_norm(X, weight=S, bias=M, eps=EPSILON),
    ),
    "Cast": ("h = Cast<to=10>(x) y = Cast<to=1>(h)", {"x": X}, X),
    "CastLike": ("h = Cast<to=1>(x) y = CastLike(x, h)", {"x": X}, X),
}


@pytest.mark.parametrize("name", DOUBLE_OPS)
def test_agrees_with_torch_in_double(name):
    body, feeds, expected = DOUBLE_OPS[name]
    inputs = ", ".join(f"T[{','.join(map(str, v.shape))}] {k}" for k, v in feeds.items())
    ranks = ",".join("abcd"[: expected.ndim])
    runner = ReferenceRunner(model(f"({inputs}) => (T[{ranks}] y)", body))
    close(runner.run({k: v.numpy() for k, v in feeds.items()})["y"], expected)


def test_batch_normalisation_of_before_opset_14_is_that_of_inference():
    header = '<ir_version: 8, opset_import: ["": 13]>\n'
    body, feeds, expected = DOUBLE_OPS["BatchNormalization"]
    signature = "(T[n,4,h,w] x, T[4] s, T[4] b, T[4] m, T[4] v) => (T[n,4,h,w] y)"
    runner = ReferenceRunner(model(signature, body, header=header))
    close(runner.run({k: v.numpy() for k, v in feeds.items()})["y"], expected)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize(
    "op",
    [
        "Conv<{}, kernel_shape=[2,4], strides=[2,1]>(x, w)",
        "MaxPool<{}, kernel_shape=[2,4], strides=[2,1]>(x)",
        "AveragePool<{}, kernel_shape=[2,4], strides=[2,1]>(x)",
    ],
)
def test_automatic_pads_agree_with_onnxruntime(op, auto_pad):
    body = "y = " + op.format(f'auto_pad="{auto_pad}"')
    text = ("(T[2,4,7,6] x, T[3,4,2,4] w) => (T[a,b,c,d] y)", body)
    feeds = {"x": tensor(0, 2, 4, 7, 6).numpy(), "w": tensor(1, 3, 4, 2, 4).numpy()}
    single = {k: v.astype(np.float32) for k, v in feeds.items()}
    expected = OnnxRuntimeRunner(model(*text, kind="float")).run(single)["y"]
    found = ReferenceRunner(model(*text)).run(feeds)["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        "y, i = MaxPool<kernel_shape=[2,2]>(x)",
        "y = ConvTranspose<output_shape=[9,9]>(x, x)",
        "y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s)",
    ],
)
def test_what_is_not_computed_is_refused(body):
    feeds = {"x": np.ones((2, 2, 4, 4)), "s": np.ones(2)}
    runner = ReferenceRunner(model("(T[a,b,c,d] x, T[b] s) => (T[e,f,g,h] y)", body))
    with pytest.raises(GraphError):
        runner.run(feeds)

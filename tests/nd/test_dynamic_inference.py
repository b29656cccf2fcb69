"""Shapes and types of what the ops on batch statistics give."""

import onnx
import pytest
from onnx import parser

from nd_deploy.nd.dialect import register_schemas

HEADER = '<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>'


def inferred(call, x, weight):
    text = f"""{HEADER} network (float16[{x}] x, float[{weight}] weight, float[O] bias)
        => (float16[] w, float16[] b) {{ {call} }}"""
    register_schemas()
    found = onnx.shape_inference.infer_shapes(parser.parse_model(text), strict_mode=True)
    kinds = [output.type.tensor_type for output in found.graph.output]
    assert all(kind.elem_type == onnx.TensorProto.FLOAT16 for kind in kinds)
    return [
        [d.dim_value or d.dim_param for d in kind.shape.dim] if kind.HasField("shape") else None
        for kind in kinds
    ]


WINDOW = (
    "kernel_shape=[3,2], pads=[0,0,0,0], dilations=[1,1], sampling_strides=[3,3], "
    "group=1, block=4, n_iter=5, eps=0.1"
)
FOLDED_CONV = f"w, b = nd_deploy.NDFastDeconvDynamic <{WINDOW}> (x, weight, bias)"
FOLDED_LINEAR = "w, b = nd_deploy.NDDelinearDynamic <block=4, n_iter=5, eps=0.1> (x, weight, bias)"


@pytest.mark.parametrize(
    ("call", "x", "weight", "expected"),
    [
        (FOLDED_CONV, "N,4,H,W", "8,4,3,2", [[8, 4, 3, 2], ["O"]]),
        (FOLDED_CONV, "", "8,4,3,2", [[8, 4, 3, 2], ["O"]]),
        (FOLDED_CONV, "N,4,H,W", "", [None, ["O"]]),
        (FOLDED_LINEAR, "N,T,4", "8,4", [[8, 4], ["O"]]),
    ],
)
def test_weight_and_bias_have_the_shapes_of_those_read_and_the_type_of_x(call, x, weight, expected):
    assert inferred(call, x, weight) == expected


@pytest.mark.parametrize(
    ("call", "x", "weight", "message"),
    [
        (FOLDED_CONV.replace("pads=[0,0,0,0]", "pads=[0,0]"), "N,4,H,W", "8,4,3,2", "takes 4"),
        (FOLDED_CONV, "N,4,L", "8,4,3,2", "input 0 of 3 axes, which takes 4"),
        (FOLDED_CONV, "N,4,H,W", "8,4,3", "input 1 of 3 axes, which takes 4"),
        (FOLDED_LINEAR, "N,4", "8,4,1", "input 1 of 3 axes, which takes 2"),
    ],
)
def test_a_wrong_number_of_axes_is_an_error(call, x, weight, message):
    with pytest.raises(onnx.shape_inference.InferenceError, match=message):
        inferred(call, x, weight)


def test_whitened_channels_have_their_own_shape_of_2_or_4_axes():
    call = "y = nd_deploy.NDChannelDeconvDynamic <block=2, n_iter=5, sampling_stride=3, eps=0.1>(x)"
    for axes in ("N,4", "N,4,H,W", "N,4,L"):
        proto = parser.parse_model(
            f"{HEADER} network (float[{axes}] x) => (float[] y) {{ {call} }}"
        )
        register_schemas()
        if axes == "N,4,L":
            with pytest.raises(onnx.shape_inference.InferenceError, match="takes 2 or 4"):
                onnx.shape_inference.infer_shapes(proto, strict_mode=True)
            continue
        kind = onnx.shape_inference.infer_shapes(proto).graph.output[0].type.tensor_type
        assert [d.dim_value or d.dim_param for d in kind.shape.dim] == [
            int(a) if a.isdigit() else a for a in axes.split(",")
        ]

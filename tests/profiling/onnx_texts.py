"""Small models in ONNX's text, for what is counted of them."""

import math

import onnx


def model(inputs, outputs, nodes, constants="", weights=None, opset=17):
    """A model of this text, with weights of these shapes by name, all of them zeros."""
    declared = f" <{constants}>" if constants else ""
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]>\n'
        f"g ({inputs}) => ({outputs}){declared} {{\n{nodes}\n}}"
    )
    for name, shape in (weights or {}).items():
        zeros = [0.0] * math.prod(shape)
        proto.graph.initializer.append(
            onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, shape, zeros)
        )
    return proto

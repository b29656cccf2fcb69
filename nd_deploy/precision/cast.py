"""A float32 model in float16 or bfloat16, as strongly typed runtimes want it: types in the graph.

Inputs and outputs of the model stay float32, and so do the statistics of ND nodes, which compute
in float32 whatever reaches them, and what the ONNX standard types as float32. Weights are rounded
once.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nd_deploy.errors import InputError
from nd_deploy.nd import dialect
from nd_deploy.passes.model import ALWAYS_FLOAT32

_CODES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38}
# What says where and how far to resize keeps its precision too.
_WIDE_INPUTS = ALWAYS_FLOAT32 | {("Resize", 1)}


def cast(model: onnx.ModelProto, dtype: str) -> onnx.ModelProto:
    """Cast a model to a narrower float type.

    Args:
        model: float32, in the portable form, with its weights in it; not changed.
        dtype: "float16" or "bfloat16".

    Returns:
        A model of the same inputs and outputs. In bfloat16 it is for TensorRT alone: the standard
        has bfloat16 convolutions from opset 22 on.

    Raises:
        InputError: `dtype` is another, a weight is too large for it (named after its layer), or the
            model has branches, into which this does not look.
    """
    if dtype not in _CODES:
        raise InputError(
            f"a model cannot be cast to {dtype!r}", f"choose one of {', '.join(_CODES)}"
        )
    for node in model.graph.node:
        if any(attribute.g.node or attribute.graphs for attribute in node.attribute):
            raise InputError(
                f"{node.op_type} '{node.name}' has branches, into which a cast does not look",
                "keep the model in float32",
            )
    narrow = onnx.ModelProto()
    narrow.CopyFrom(model)
    # Types of what is inside the graph follow from the rest.
    del narrow.graph.value_info[:]
    _cast_weights(narrow.graph, dtype)
    for node in narrow.graph.node:
        _cast_attributes(node, dtype)
    _cast_ports(narrow.graph, _CODES[dtype])
    return narrow


def _cast_weights(graph: onnx.GraphProto, dtype: str) -> None:
    wide = {tensor.name: tensor for tensor in graph.initializer}
    wide = {n: t for n, t in wide.items() if t.data_type == TensorProto.FLOAT}
    kept: set[str] = set()
    narrowed: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name not in wide:
                continue
            if _stays_wide(node, index):
                kept.add(name)
            else:
                narrowed[name] = node.name or node.op_type
    for name, layer in narrowed.items():
        tensor = _rounded(wide[name], dtype, layer)
        if name not in kept:
            wide[name].CopyFrom(tensor)
            continue
        tensor.name = f"{name}.{dtype}"
        graph.initializer.append(tensor)
        for node in graph.node:
            for index, given in enumerate(node.input):
                if given == name and not _stays_wide(node, index):
                    node.input[index] = tensor.name


def _stays_wide(node: onnx.NodeProto, index: int) -> bool:
    # By the op's name: the domain is that of the target.
    statistics = node.op_type in dialect.OPS and index > 0
    return statistics or (node.op_type, index) in _WIDE_INPUTS


def _cast_attributes(node: onnx.NodeProto, dtype: str) -> None:
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_rounded(attribute.t, dtype, node.name or node.op_type))
        elif attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = _CODES[dtype]


def _rounded(tensor: onnx.TensorProto, dtype: str, layer: str) -> onnx.TensorProto:
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0))
    if largest > _LARGEST[dtype]:
        raise InputError(
            f"layer {layer}: a weight of {largest:.3g} does not fit {dtype}, which ends at "
            f"{_LARGEST[dtype]:.3g}",
            "keep the model in float32, or cast it to bfloat16",
        )
    narrow = values.astype(helper.tensor_dtype_to_np_dtype(_CODES[dtype]))
    return TensorProto(
        name=tensor.name, data_type=_CODES[dtype], dims=tensor.dims, raw_data=narrow.tobytes()
    )


def _cast_ports(graph: onnx.GraphProto, code: int) -> None:
    """Put a cast behind each float32 input and in front of each float32 output."""
    parameters = {tensor.name for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    entries, exits = [], []
    for port in graph.input:
        if port.name in parameters or not _is_float32(port):
            continue
        inside = _free(taken, f"{port.name}.narrow")
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == port.name and not _stays_wide(node, index):
                    node.input[index] = inside
        entries.append(helper.make_node("Cast", [port.name], [inside], inside, to=code))
    for port in graph.output:
        if not _is_float32(port):
            continue
        inside = _free(taken, f"{port.name}.narrow")
        _rename(graph, port.name, inside)
        exits.append(helper.make_node("Cast", [inside], [port.name], inside, to=TensorProto.FLOAT))
    nodes = [*entries, *graph.node, *exits]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _is_float32(port: onnx.ValueInfoProto) -> bool:
    return bool(port.type.tensor_type.elem_type == TensorProto.FLOAT)


def _free(taken: set[str], name: str) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name

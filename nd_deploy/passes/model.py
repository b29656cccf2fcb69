"""Models into the form that passes work on, and out of it.

Parameters come in as they are, and what a pass computes stays in the graph as float64, so that a
chain of folds rounds once, at the end: `store` and `narrow` cast everything to one dtype. Tensors
that the ONNX standard types as float32 whatever the network's dtype is, such as the scales of
Resize, keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from nd_deploy import __version__
from nd_deploy.errors import GraphError
from nd_deploy.nd import dialect
from nd_deploy.node_layers import LAYERS
from nd_deploy.passes.base import Decision
from nd_deploy.passes.graph import constants, free_name, is_output

Float = np.dtype[np.floating] | type[np.floating]

ALWAYS_FLOAT32 = {("Resize", 2), ("Upsample", 1)}
"""(op type, input index) of inputs whose type is float32 by the standard."""

# Attributes of `Constant` that hold a number or a list of them.
_PLAIN_VALUES: Mapping[str, type[np.generic]] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
_FLOAT_CODES = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
# Parameters smaller than this stay in the file that `split_parameters` makes: shape inference
# needs the values of axes and target shapes.
_SMALL = 64


def load(model: onnx.ModelProto) -> gs.Graph:
    """Read a model into the passes' form.

    Args:
        model: a model of standard ops and ND dialect nodes; not changed.

    Returns:
        A graph with inferred shapes, its `Constant` nodes turned into constants and every node
        under a name of its own.

    Raises:
        GraphError: the model fails onnx's own checks.
    """
    dialect.register_schemas()
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    foreign = [f for f in bare.functions if f.domain != dialect.DOMAIN]
    del bare.functions[:]
    bare.functions.extend(foreign)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise GraphError(
            f"the model is not valid ONNX: {error}",
            "check it with onnx.checker.check_model(model, full_check=True)",
        ) from error
    graph = gs.import_onnx(inferred)
    lift_constants(graph)
    _name_nodes(graph)
    return graph


def store(
    graph: gs.Graph, dtype: Float = np.float32, decisions: Sequence[Decision] = ()
) -> onnx.ModelProto:
    """Write a graph as a valid model, casting its parameters once.

    Args:
        graph: not changed.
        dtype: float32 or float64.
        decisions: recorded as metadata on the nodes that they name.

    Returns:
        The model, with function bodies for the dialect nodes left in it.
    """
    copy = graph.copy()
    narrow(copy, dtype)
    return to_model(copy, decisions)


def narrow(graph: gs.Graph, dtype: Float = np.float32) -> None:
    """Cast every floating-point tensor of `graph` to `dtype`, in place, one at a time."""
    _convert(graph, dtype)


def to_model(graph: gs.Graph, decisions: Sequence[Decision] = ()) -> onnx.ModelProto:
    """Write a graph as it is, using it up; see `store`.

    Each parameter is taken out of the graph as it goes into the model, so that the weights are not
    in memory twice.
    """
    model, parameters = split_parameters(graph)
    graph.nodes.clear()
    kept = [port for port in model.graph.input if port.name not in parameters]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in list(parameters):
        values = parameters.pop(name)
        tensor = model.graph.initializer.add(name=name, dims=values.shape)
        tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.raw_data = values.tobytes()
    _record(model, decisions)
    return model


def split_parameters(graph: gs.Graph) -> tuple[onnx.ModelProto, dict[str, NDArray[np.generic]]]:
    """Write a graph without its large parameters, which become inputs.

    A runner that takes them as feeds then needs no second copy of the weights.

    Args:
        graph: not changed.

    Returns:
        The model and the parameters by name, sharing memory with the graph.
    """
    copy = graph.copy()
    parameters = {}
    for original, tensor in zip(constants(graph), constants(copy), strict=True):
        # Read where it stays: what a copy reads from the model late is the copy's alone.
        values = original.values
        if values.size > _SMALL and values.dtype.kind in "fiu":
            parameters[tensor.name] = values
            variable = tensor.to_variable(values.dtype, values.shape)
            variable.type = "tensor_type"  # onnx-graphsurgeon 0.6.1 forgets it, then asks for it
            copy.inputs.append(variable)
    model: onnx.ModelProto = gs.export_onnx(copy)
    model.producer_name = "nd-deploy"
    model.producer_version = __version__
    dialect.attach_functions(model)
    return model, parameters


def lift_constants(graph: gs.Graph) -> None:
    """Turn `Constant` nodes into constants, so that passes see one kind of parameter."""
    for node in [n for n in graph.nodes if n.op == "Constant" and n.domain in (None, "")]:
        output = node.outputs[0]
        if is_output(graph, output):
            continue
        values = _constant_value(node)
        if values is not None:
            node.outputs.clear()
            output.to_constant(values)
    graph.cleanup(remove_unused_graph_inputs=False)


def _constant_value(node: gs.Node) -> NDArray[np.generic] | None:
    for kind, value in node.attrs.items():
        if isinstance(value, gs.Constant):
            return np.asarray(value.values)
        if kind in _PLAIN_VALUES:
            return np.asarray(value, dtype=_PLAIN_VALUES[kind])
    return None


def _name_nodes(graph: gs.Graph) -> None:
    """Give a name to each node that has none, or that of another: decisions name nodes."""
    taken = {node.name for node in graph.nodes}
    seen: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in seen:
            node.name = free_name(taken, node.name or node.op)
            taken.add(node.name)
        seen.add(node.name)


def _convert(graph: gs.Graph, dtype: Float) -> None:
    target = np.dtype(dtype)
    code = onnx.helper.np_dtype_to_tensor_dtype(target)
    fixed = {
        id(node.inputs[index])
        for node in graph.nodes
        for op, index in ALWAYS_FLOAT32
        if node.op == op and len(node.inputs) > index
    }
    for tensor in graph.tensors().values():
        if tensor.dtype in (np.float32, np.float64):
            wanted = np.dtype(np.float32) if id(tensor) in fixed else target
            if isinstance(tensor, gs.Constant):
                tensor.to_constant(tensor.values.astype(wanted, copy=False))
            else:
                tensor.dtype = wanted
    for node in graph.nodes:
        for key, value in list(node.attrs.items()):
            if isinstance(value, gs.Graph):
                _convert(value, dtype)
            elif isinstance(value, gs.Constant) and value.dtype in (np.float32, np.float64):
                node.attrs[key] = gs.Constant(value.name, value.values.astype(target))
            elif node.op == "Constant" and _PLAIN_VALUES.get(key) is np.float32:
                del node.attrs[key]
                node.attrs["value"] = gs.Constant("", np.asarray(value, target))
            elif key in ("to", "dtype") and _type_code(value) in _FLOAT_CODES:
                node.attrs[key] = code


def _type_code(value: object) -> int | None:
    if isinstance(value, (int, np.integer)):
        return int(value)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(value)))  # type: ignore[call-overload]
    except (TypeError, KeyError, ValueError):
        return None


def _record(model: onnx.ModelProto, decisions: Sequence[Decision]) -> None:
    """Write onto each rewritten node which layers it holds and which passes put them there."""
    nodes = {node.name: node for node in model.graph.node}
    for decision in decisions:
        for name in decision.into:
            if name in nodes:
                _append(nodes[name], LAYERS, decision.layer)
                _append(nodes[name], "nd_deploy.passes", decision.pass_name)


def _append(node: onnx.NodeProto, key: str, value: str) -> None:
    for entry in node.metadata_props:
        if entry.key == key:
            entry.value += f",{value}"
            return
    node.metadata_props.add(key=key, value=value)

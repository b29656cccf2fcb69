"""A model without its weights and without functions: what its shapes can be worked out from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import external_data_helper, inliner

from nd_deploy.bundle import onnx_file
from nd_deploy.errors import GraphError
from nd_deploy.nd import dialect
from nd_deploy.node_layers import LAYERS, layers_on
from nd_deploy.runtime.feeds import Port, check_feeds
from nd_deploy.targets.forms import portable

# Axes and target shapes are smaller than this, and have to be read; weights are larger.
_SMALL = 1024


def skeleton(
    model: onnx.ModelProto | Path, shapes: Mapping[str, tuple[int, ...]]
) -> onnx.ModelProto:
    """Read what is needed of a model, with its inputs at fixed shapes.

    Args:
        model: not changed; of any target.
        shapes: of every input, by name.

    Returns:
        A model of the same nodes, in which bodies stand for nodes of functions and large weights
        have shapes and no values.

    Raises:
        InputError: an input is missing, unknown or of a shape that the model does not take.
        GraphError: the file holds no model, or lacks one that it refers to.
    """
    bare = portable(_bare(_load(model), model.parent if isinstance(model, Path) else None))
    _fix_inputs(bare.graph, shapes)
    names = _mark_bodies(bare)
    flat: onnx.ModelProto = inliner.inline_local_functions(bare)
    for node in flat.graph.node:
        # The inliner adds "__1" and so on.
        name = node.name.rpartition("__")[0]
        if name in names:
            node.name = name
    return flat


def label(node: onnx.NodeProto) -> str:
    """A node's name, or what TensorRT calls it if it has none."""
    return node.name or f"node_of_{node.output[0] if node.output else ''}"


def layers_of(node: onnx.NodeProto) -> tuple[str, ...]:
    """The ND layers that a node holds, by what the passes wrote onto it, or by its op."""
    return layers_on(node) or ((label(node),) if node.domain == dialect.DOMAIN else ())


def _load(model: onnx.ModelProto | Path) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        return onnx.load(model, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise GraphError(
            f"{model} is no ONNX model: {error}", "convert the network again, or export it again"
        ) from error


def _bare(model: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """A copy without large weights, nor the shapes that a model states for other inputs."""
    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    weights = {tensor.name for tensor in model.graph.initializer}
    bare.graph.input.extend(port for port in model.graph.input if port.name not in weights)
    bare.graph.output.extend(onnx.ValueInfoProto(name=port.name) for port in model.graph.output)
    bare.graph.initializer.extend(_bare_tensor(t, folder) for t in model.graph.initializer)
    return bare


def _bare_tensor(tensor: onnx.TensorProto, folder: Path | None) -> onnx.TensorProto:
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    if math.prod(tensor.dims) > _SMALL or (external and folder is None):
        return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    if external:
        _read_external(copy, str(folder))
    return copy


def _read_external(tensor: onnx.TensorProto, folder: str) -> None:
    try:
        external_data_helper.load_external_data_for_tensor(tensor, folder)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise GraphError(
            f"'{tensor.name}' lies in a file beside the model that cannot be read: {error}",
            "copy that file as well, or convert the network again",
        ) from error


def _fix_inputs(graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    ports = [
        Port(info.name, None, tuple(None if size == "?" else size for size in info.shape))
        for info in onnx_file.tensors(graph.input)
    ]
    check_feeds(ports, {n: np.broadcast_to(np.int8(0), shape) for n, shape in shapes.items()})
    for port in graph.input:
        port.type.tensor_type.shape.Clear()
        for size in shapes[port.name]:
            port.type.tensor_type.shape.dim.add(dim_value=size)


def _mark_bodies(model: onnx.ModelProto) -> set[str]:
    """Give each call of a function a body of its own, whose nodes say whose they are.

    The inliner keeps what is written on the nodes of a body and drops what is on the call.

    Returns:
        The names of these nodes.
    """
    names = set()
    bodies = {(function.domain, function.name): function for function in model.functions}
    for number, call in enumerate(model.graph.node):
        body = bodies.get((call.domain, call.op_type))
        if body is None:
            continue
        own = model.functions.add()
        own.CopyFrom(body)
        own.name = f"{body.name}@{number}"
        for node in own.node:
            node.name = f"{label(call)}/{label(node)}"
            names.add(node.name)
            _write_layers(node, layers_of(call))
        call.op_type = own.name
    return names


def _write_layers(node: onnx.NodeProto, layers: tuple[str, ...]) -> None:
    if layers and not layers_of(node):
        node.metadata_props.add(key=LAYERS, value=",".join(layers))

"""ONNX models on disk: what they say of themselves, and writing them with the weights beside.

`onnx.save` moves the weights out of the model it is given; `save` leaves it as it was.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from nd_deploy.bundle.manifest import TensorInfo

Message = TypeVar("Message", onnx.ModelProto, onnx.GraphProto)

# Under this a tensor stays in the model file: shapes and axes are read before any weight is.
_SMALL = 1024
# Runtimes map the file into memory, which needs offsets at whole pages.
_PAGE = 4096
# ONNX's own names say neither the width of FLOAT nor that of DOUBLE.
_DTYPES = {"FLOAT": "float32", "DOUBLE": "float64"}
_NOT_WEIGHTS = {"int64", "int32", "bool", "string"}


def weight_bytes(model: onnx.ModelProto) -> int:
    """The size of the model's initializers."""
    return sum(_byte_count(tensor) for tensor in model.graph.initializer)


def save(model: onnx.ModelProto, path: Path, external_data_over: int) -> list[Path]:
    """Write `model`, with its weights in a file of their own if they are large.

    Args:
        model: left unchanged.
        path: the model file; the weights' file is called the same with ".data" added.
        external_data_over: bytes of weights from which they get that file. Protobuf cannot hold
            2 GiB.

    Returns:
        The files that were written.
    """
    if references(model):
        raise ValueError("the model's external data is not loaded")
    if weight_bytes(model) <= external_data_over:
        _write_inline(model, path)
        return [path]
    data = path.with_name(f"{path.name}.data")
    slim = onnx.ModelProto()
    _copy_fields(model, slim, but="graph")
    _copy_fields(model.graph, slim.graph, but="initializer")
    with data.open("wb") as file:
        for tensor in model.graph.initializer:
            if _byte_count(tensor) < _SMALL:
                slim.graph.initializer.append(tensor)
                continue
            file.write(b"\0" * (-file.tell() % _PAGE))
            offset = file.tell()
            length = file.write(_raw(tensor))
            slim.graph.initializer.append(_reference(tensor, data.name, offset, length))
    path.write_bytes(slim.SerializeToString(deterministic=True))
    return [path, data]


def _write_inline(model: onnx.ModelProto, path: Path) -> None:
    """Serialise tensor by tensor; protobuf at once would hold the weights twice more.

    The file is an ordinary model: one graph, its initializers behind its other fields.
    """
    rest, graph = onnx.ModelProto(), onnx.GraphProto()
    _copy_fields(model, rest, but="graph")
    _copy_fields(model.graph, graph, but="initializer")
    head = graph.SerializeToString(deterministic=True)
    starts = [_start("GraphProto", "initializer", t.ByteSize()) for t in model.graph.initializer]
    size = len(head) + sum(
        len(start) + tensor.ByteSize()
        for start, tensor in zip(starts, model.graph.initializer, strict=True)
    )
    with path.open("wb") as file:
        file.write(rest.SerializeToString(deterministic=True))
        file.write(_start("ModelProto", "graph", size) + head)
        for start, tensor in zip(starts, model.graph.initializer, strict=True):
            file.write(start)
            file.write(tensor.SerializeToString(deterministic=True))


def _start(message: str, field: str, size: int) -> bytes:
    """What stands in front of a field of `size` bytes: its number, its wire type, the size."""
    number = getattr(onnx, message).DESCRIPTOR.fields_by_name[field].number
    return bytes([number << 3 | 2]) + _varint(size)


def _varint(value: int) -> bytes:
    """Protobuf's integers: 7 bits a byte, the lowest first, a set top bit where more follow."""
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def references(model: onnx.ModelProto) -> set[str]:
    """The names of the files that the model's tensors lie in, as the model states them."""
    return {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def references_in(path: Path) -> set[str]:
    """`references` of a model on disk, without reading a large one that has none.

    Raises:
        ValueError: the file is no ONNX model.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # The key of every reference. Parsing takes seconds, this a fraction of one.
        if content.find(b"location") < 0:
            return set()
    try:
        return references(onnx.load(path, load_external_data=False))
    except DecodeError as error:
        raise ValueError(str(error)) from error


def node_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How many nodes of each op type the graph has, subgraphs included."""
    graphs = (model.graph, *_subgraphs(model.graph.node))
    return dict(Counter(node.op_type for graph in graphs for node in graph.node))


def tensors(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    """Describe a graph's inputs or outputs."""
    return tuple(
        TensorInfo(
            value.name,
            _dtype(value.type.tensor_type.elem_type),
            tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                for dim in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )


def precision(model: onnx.ModelProto) -> str:
    """The dtypes of the model's weights, the most frequent first, joined by "+"."""
    found = Counter(_dtype(tensor.data_type) for tensor in model.graph.initializer)
    weights = [dtype for dtype, _ in found.most_common() if dtype not in _NOT_WEIGHTS]
    if not weights:
        weights = sorted({info.dtype for info in tensors(model.graph.input)})
    return "+".join(weights)


def _byte_count(tensor: onnx.TensorProto) -> int:
    # Asking for raw_data would copy it.
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims) * dtype.itemsize)


def _dtype(element_type: int) -> str:
    name = str(onnx.TensorProto.DataType.Name(element_type))
    return _DTYPES.get(name, name.lower())


def _raw(tensor: onnx.TensorProto) -> bytes:
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    return numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data


def _reference(
    tensor: onnx.TensorProto, location: str, offset: int, length: int
) -> onnx.TensorProto:
    reference = onnx.TensorProto(
        name=tensor.name,
        data_type=tensor.data_type,
        dims=tensor.dims,
        doc_string=tensor.doc_string,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        reference.external_data.add(key=key, value=str(value))
    return reference


def _copy_fields(source: Message, target: Message, but: str) -> None:
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if isinstance(value, str | int):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).MergeFrom(value)


def _subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield graph
                yield from _subgraphs(graph.node)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    in_functions = [node for function in model.functions for node in function.node]
    graphs = [model.graph, *_subgraphs(model.graph.node), *_subgraphs(in_functions)]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in (*in_functions, *(node for graph in graphs for node in graph.node)):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)

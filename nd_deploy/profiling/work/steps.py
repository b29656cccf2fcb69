"""The nodes of a graph that have to run for every input, those of its subgraphs among them.

What depends on the values of no input is computed once, when a model is loaded, and is no step:
shapes, and the product of a weight with a frozen D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import onnx

from nd_deploy.profiling.work.scope import Scope, values_read
from nd_deploy.profiling.work.step import Body, Step
from nd_deploy.profiling.work.tensors import Tensor, tensor_of, type_of


def steps_of(nodes: Iterable[onnx.NodeProto], scope: Scope) -> tuple[Step, ...]:
    """Follow the nodes of a graph.

    Args:
        nodes: in an order in which they can run.
        scope: what is known of the tensors around them; what they give is added to it.
    """
    steps = []
    for node in nodes:
        reads, body = values_read(node), None
        follow = _CONTROL_FLOW.get(node.op_type) if node.domain == "" else None
        if follow is None:
            scope.add_outputs(node)
        else:
            reads += tuple(_captured(node))
            body = follow(node, scope)
            if scope.are_constant(reads):
                scope.constants.update(node.output)
        if not scope.constants.issuperset(node.output):
            steps.append(Step(node, reads, scope.tensors(reads), scope.tensors(node.output), body))
    return tuple(steps)


def _loop(node: onnx.NodeProto, scope: Scope) -> Body | None:
    """A Loop, as far as what it carries keeps its shape."""
    body, inner = _graph(node, "body"), scope.inside()
    carried = node.input[2:]
    counter = type_of(Tensor((), onnx.TensorProto.INT64))
    condition = type_of(Tensor((), onnx.TensorProto.BOOL))
    before = [counter, condition, *(scope.types.get(name) for name in carried)]
    steps, outputs = _enter(body, before, inner)
    trips = _trips(node, body, scope, inner)
    kept = _unless_grown(scope.tensors(carried), inner, outputs[1 : 1 + len(carried)])
    if kept is None:
        return None
    gathered = [inner.types.get(name) for name in outputs[1 + len(carried) :]]
    stacked = [None if trips is None else _stacked(kind, trips, 0) for kind in gathered]
    _set_types(scope, node.output, [*kept, *stacked])
    return Body(steps, outputs, trips)


def _trips(node: onnx.NodeProto, body: onnx.GraphProto, scope: Scope, inner: Scope) -> int | None:
    """How often a Loop runs, or None where that depends on an input."""
    limit, condition = [*node.input, "", ""][:2]
    goes_on = _through_identities(body, body.output[0].name)
    starts = scope.values.get(condition) if condition else True
    if starts is not None and not starts:
        return 0
    never_ends = bool(inner.values.get(goes_on)) or goes_on == body.input[1].name
    if starts is None or not never_ends or limit not in scope.values:
        return None
    return int(scope.values[limit].reshape(()))


def _through_identities(body: onnx.GraphProto, name: str) -> str:
    sources = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity"}
    while name in sources:
        name = sources[name]
    return name


def _if(node: onnx.NodeProto, scope: Scope) -> Body | None:
    """An If, of which one branch is followed where the condition is a constant."""
    condition = scope.values.get(node.input[0])
    if condition is None:
        return None
    inner = scope.inside()
    steps, outputs = _enter(_graph(node, "then_branch" if condition else "else_branch"), [], inner)
    _set_types(scope, node.output, [inner.types.get(name) for name in outputs])
    return Body(steps, outputs, 1)


def _scan(node: onnx.NodeProto, scope: Scope) -> Body | None:
    """A Scan, which runs once for each slice of what it scans."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    scanned = given["num_scan_inputs"]
    states = len(node.input) - scanned
    axes = given.get("scan_input_axes", [0] * scanned)
    whole = [tensor for tensor in scope.tensors(node.input) if tensor is not None]
    if len(whole) < len(node.input):
        return None
    slices = [_without_axis(t, axis) for t, axis in zip(whole[states:], axes, strict=True)]
    before = [type_of(tensor) for tensor in (*whole[:states], *slices)]
    inner = scope.inside()
    steps, outputs = _enter(given["body"], before, inner)
    kept = _unless_grown(whole[:states], inner, outputs[:states])
    if kept is None:
        return None
    trips = whole[states].shape[axes[0]]
    gathered = [inner.types.get(name) for name in outputs[states:]]
    places = given.get("scan_output_axes", [0] * len(gathered))
    stacked = [_stacked(kind, trips, axis) for kind, axis in zip(gathered, places, strict=True)]
    _set_types(scope, node.output, [*kept, *stacked])
    return Body(steps, outputs, trips)


_CONTROL_FLOW: dict[str, Callable[[onnx.NodeProto, Scope], Body | None]] = {
    "Loop": _loop,
    "If": _if,
    "Scan": _scan,
}


def _enter(
    body: onnx.GraphProto, inputs: Iterable[onnx.TypeProto | None], inner: Scope
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The steps of a subgraph whose inputs have these types, and the names of its outputs."""
    inner.add_initializers(body)
    _set_types(inner, [port.name for port in body.input], inputs)
    return steps_of(body.node, inner), tuple(port.name for port in body.output)


def _unless_grown(
    before: Sequence[Tensor | None], inner: Scope, names: Sequence[str]
) -> list[onnx.TypeProto | None] | None:
    """The types of what a body hands on, or None if its shape changes from trip to trip."""
    after = inner.tensors(names)
    grown = any(a is not None and a != b for a, b in zip(after, before, strict=True))
    return None if grown else [inner.types.get(name) for name in names]


def _graph(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    graph: onnx.GraphProto = next(a.g for a in node.attribute if a.name == name)
    return graph


def _set_types(scope: Scope, names: Iterable[str], kinds: Iterable[onnx.TypeProto | None]) -> None:
    for name, kind in zip(names, kinds, strict=True):
        if kind is not None:
            scope.types[name] = kind


def _without_axis(tensor: Tensor, axis: int) -> Tensor:
    shape = list(tensor.shape)
    del shape[axis]
    return Tensor(tuple(shape), tensor.element_type)


def _stacked(kind: onnx.TypeProto | None, count: int, axis: int) -> onnx.TypeProto | None:
    """The type of so many tensors of one, along a new axis."""
    tensor = tensor_of(kind)
    if tensor is None:
        return None
    place = axis % (len(tensor.shape) + 1)
    shape = (*tensor.shape[:place], count, *tensor.shape[place:])
    return type_of(Tensor(shape, tensor.element_type))


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """What the subgraphs of a node read from around them, each name once for every subgraph."""
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
            own = {port.name for port in graph.input} | {t.name for t in graph.initializer}
            own.update(name for inner in graph.node for name in inner.output)
            read = [n for inner in graph.node for n in (*inner.input, *_captured(inner))]
            read += [port.name for port in graph.output]
            yield from dict.fromkeys(name for name in read if name and name not in own)

"""What a network has to compute and to move at given input shapes.

Operations are counted as `nd_deploy.profiling.work.operations` says, and bytes as
`nd_deploy.profiling.work.fusion` does. What depends on the values of no input is computed once,
when the model is loaded, and counts as a weight. A loop counts its body as often as it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.profiling.work.record import LayerWork, NetworkWork

if TYPE_CHECKING:
    from onnx import ModelProto

    from nd_deploy.profiling.work.fusion import Layer
    from nd_deploy.profiling.work.step import Step


def work_of(model: ModelProto | Path, shapes: Mapping[str, tuple[int, ...]]) -> NetworkWork:
    """Count the floating point operations of a model, and the bytes that it moves.

    Args:
        model: the model, or its file, whose large weights are not read; of any target. Not changed.
        shapes: of every input, by name.

    Returns:
        By layer; with the names of nodes that could not be counted.

    Raises:
        InputError: an input is missing, unknown or of a shape that the model does not take.
        GraphError: the file holds no model.
    """
    from nd_deploy.profiling.work.scope import Scope
    from nd_deploy.profiling.work.skeleton import skeleton
    from nd_deploy.profiling.work.steps import steps_of

    bare = skeleton(model, shapes)
    scope = Scope({_standard(o.domain): o.version for o in bare.opset_import})
    scope.add_initializers(bare.graph)
    scope.types.update((port.name, port.type) for port in bare.graph.input)
    return _count(steps_of(bare.graph.node, scope), [port.name for port in bare.graph.output])


def _standard(domain: str) -> str:
    """The name that nodes have for a domain: the standard one has two."""
    return "" if domain == "ai.onnx" else domain


@dataclass(frozen=True)
class _Cost:
    """What a step takes.

    Attributes:
        flops: operations.
        bytes: None if they are those of what it reads and gives.
        unknown: the names of nodes for which that cannot be told; the rest means nothing then.
    """

    flops: float = 0
    bytes: float | None = None
    unknown: tuple[str, ...] = ()


def _count(steps: Sequence[Step], outputs: Sequence[str]) -> NetworkWork:
    from nd_deploy.profiling.work.fusion import fuse, is_view

    costs = {step.node.output[0]: _cost(step) for step in steps if not is_view(step)}
    uncounted = [name for name, cost in costs.items() if cost.unknown]
    layers = tuple(_layer_work(layer, costs) for layer in fuse(steps, outputs, uncounted))
    return NetworkWork(layers, tuple(name for c in costs.values() for name in c.unknown))


def _cost(step: Step) -> _Cost:
    from nd_deploy.profiling.work.operations import operations
    from nd_deploy.profiling.work.skeleton import label

    name = label(step.node)
    if step.body is None:
        flops = operations(step) if step.is_known else None
        return _Cost(unknown=(name,)) if flops is None else _Cost(flops)
    once, trips = _count(step.body.steps, step.body.outputs), step.body.trips
    if once.unknown:
        return _Cost(unknown=tuple(f"{name}/{inner}" for inner in once.unknown))
    if trips is None or not step.is_known:
        return _Cost(unknown=(name,))
    return _Cost(trips * once.flops, trips * once.bytes)


def _layer_work(layer: Layer, costs: Mapping[str, _Cost]) -> LayerWork:
    from nd_deploy.profiling.work.skeleton import label, layers_of

    nodes = [step.node for step in layer.steps]
    own = [costs[node.output[0]] for node in nodes]
    moved = own[0].bytes
    return LayerWork(
        name=label(nodes[0]),
        op=" + ".join(node.op_type for node in nodes),
        nd_layers=tuple(dict.fromkeys(name for node in nodes for name in layers_of(node))),
        flops=sum(cost.flops for cost in own),
        bytes=layer.bytes if moved is None else moved,
        dtype=layer.steps[0].output().dtype.name,
        nodes=tuple(map(label, nodes)),
    )

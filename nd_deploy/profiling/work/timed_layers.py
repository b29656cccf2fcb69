"""Which of a network's work a runtime's own layers do, by the names of the nodes in theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.work.record import LayerWork, NetworkWork

# Between the names of nodes that a runtime has fused.
_AND = " + "
# A name that leaves nodes out.
_RANGE = "..."


def with_work(times: Iterable[LayerTime], work: NetworkWork) -> tuple[LayerTime, ...]:
    """Add to the times of a model's layers what these compute and move.

    Args:
        times: of a runtime's layers, each named after the nodes of the ONNX model in it, "a" or
            "a + b".
        work: of the same model.

    Returns:
        The same times. Where a runtime's layer does the work of several layers of `work`, it has
        their sum, and what passes between them counts though it may stay on the chip. Without a
        number are those that no node's name is found in, and those that share a node with others.
    """
    times = tuple(times)
    found = [_found(time.name, work) for time in times]
    claims = Counter(layer.name for layers in found for layer in layers)
    return tuple(
        _sum(time, layers) if all(claims[layer.name] == 1 for layer in layers) else time
        for time, layers in zip(times, found, strict=True)
    )


def _found(name: str, work: NetworkWork) -> list[LayerWork]:
    if _RANGE in name:
        return []
    parts = {name, *name.split(_AND)}
    # What is no layer itself may be a node that stands for a function, whose body's nodes are.
    calls = parts - {layer.name for layer in work.layers}
    return [
        layer
        for layer in work.layers
        if layer.name in parts or layer.name.rpartition("/")[0] in calls
    ]


def _sum(time: LayerTime, layers: list[LayerWork]) -> LayerTime:
    if not layers:
        return time
    return replace(
        time,
        flops=sum(layer.flops for layer in layers),
        bytes=sum(layer.bytes for layer in layers),
    )

"""Reads the trace that ONNX Runtime writes of a session: the time of every node in every run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nd_deploy.errors import BackendError
from nd_deploy.profiling.layers.medians import median_of_runs
from nd_deploy.runtime.ort.names import CPU

_KERNEL_TIME = "_kernel_time"
# The trace event format counts microseconds.
_SECONDS = 1e-6


class OrtNode(NamedTuple):
    """A node of an optimised graph.

    Attributes:
        number: ONNX Runtime's number of it.
        name: its name.
        op: its op type.
        provider: what ran it.
    """

    number: str
    name: str
    op: str
    provider: str


@dataclass
class _Execution:
    """A node that ran once, by the host's clock, and the time of its kernels on a GPU."""

    node: OrtNode
    start: float
    duration: float
    kernels: float = 0.0

    @property
    def seconds(self) -> float:
        return self.duration if self.node.provider == CPU else self.kernels

    def lies_in(self, later: _Execution) -> bool:
        """Whether it was part of one that ended later; nodes run one after the other."""
        # The clock has whole microseconds, so that what took none may have the start of the next.
        return self.start > later.start or (self.start == later.start and self.duration > 0)


def node_times(trace: Path, warmup: int, runs: int) -> dict[OrtNode, float]:
    """The time of every node.

    On the CPU a node's time is by the host's clock. On a GPU the host only starts kernels, so that
    the time is that of the kernels which the trace lists after their node.

    Args:
        trace: the file.
        warmup: how many runs at its beginning do not count.
        runs: how many come after those.

    Returns:
        The median over the runs, in seconds, in the order in which the nodes ran.

    Raises:
        BackendError: it cannot be read, holds other runs, or does not tell the times of a GPU.
    """
    events = _read(trace)
    try:
        found = list(_runs(events))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(trace, f"an event lacks a part or has a strange one: {error}") from error
    if len(found) != warmup + runs:
        raise _unreadable(trace, f"it holds {len(found)} runs of {warmup + runs}")
    counted = found[warmup:]
    if not any(counted):
        raise _unreadable(trace, "it names no node")
    if not any(event.get("cat") == "Kernel" for event in events):
        _require_host(counted)
    return median_of_runs(counted)


def _read(trace: Path) -> list[dict[str, Any]]:
    try:
        events = json.loads(trace.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(trace, str(error)) from error
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise _unreadable(trace, "it is no list of events")
    return events


def _runs(events: Sequence[Mapping[str, Any]]) -> Iterator[dict[OrtNode, float]]:
    """The nodes of each run, which an event of the whole run closes."""
    run: list[_Execution] = []
    for event in events:
        kind, name = event["cat"], event["name"]
        if kind == "Session" and name == "model_run":
            yield _sums(run)
            run = []
        elif kind == "Node" and name.endswith(_KERNEL_TIME):
            _append(run, _execution(event))
        elif kind == "Kernel":
            if not run:
                raise ValueError(f"the kernel {name} stands under no node of its run")
            run[-1].kernels += _duration(event)


def _append(run: list[_Execution], execution: _Execution) -> None:
    """Add an execution, which takes the place of those of its subgraphs: they end before it."""
    while run and run[-1].lies_in(execution):
        execution.kernels += run.pop().kernels
    run.append(execution)


def _sums(run: Iterable[_Execution]) -> dict[OrtNode, float]:
    sums: dict[OrtNode, float] = {}
    for execution in run:
        sums[execution.node] = sums.get(execution.node, 0.0) + execution.seconds
    return sums


def _execution(event: Mapping[str, Any]) -> _Execution:
    details = event["args"]
    node = OrtNode(
        str(details.get("node_index", "")),
        event["name"].removesuffix(_KERNEL_TIME),
        str(details["op_name"]),
        str(details["provider"]),
    )
    return _Execution(node, float(event["ts"]) * _SECONDS, _duration(event))


def _duration(event: Mapping[str, Any]) -> float:
    microseconds = float(event["dur"])
    if not microseconds >= 0:
        raise ValueError(f"{event['name']} took {microseconds} us")
    return microseconds * _SECONDS


def _require_host(runs: Sequence[Mapping[OrtNode, float]]) -> None:
    elsewhere = sorted({node.provider for run in runs for node in run} - {CPU})
    if elsewhere:
        raise BackendError(
            f"this ONNX Runtime does not trace the kernels of {', '.join(elsewhere)}, and the "
            "host's times of its nodes are those of starting kernels",
            "take the times of layers in --runtime tensorrt, or use an ONNX Runtime that is built "
            "with --enable_cuda_profiling",
        )


def _unreadable(trace: Path, reason: str) -> BackendError:
    return BackendError(
        f"the trace {trace.name} that ONNX Runtime wrote cannot be read: {reason}",
        "leave the times of layers out, or try another version of ONNX Runtime",
    )

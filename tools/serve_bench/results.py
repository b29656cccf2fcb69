"""All that a run of the benchmark found, and what it was to find."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serve_bench.figures import Contestant, Footprint, Goal, Row
from serve_bench.models import RESNET, TOY
from serve_bench.requests_on_wire import BINARY, NUMBERED

JOINING, SINGLE = "nd-deploy serve", "nd-deploy serve --max-batch 1"
"""The server as it comes, and one that joins no requests."""


@dataclass(frozen=True)
class Results:
    """What was measured, on what, and by which command.

    Attributes:
        rows: of every contestant.
        footprints: of every server.
        starts: seconds from the start to ready of the demo's server, each time.
        machine: what can be said of it, in a line.
        method: how it was measured, in a line.
        command: that measured.
        created: when, in ISO 8601.
    """

    rows: tuple[Row, ...]
    footprints: tuple[Footprint, ...]
    starts: tuple[float, ...]
    machine: str
    method: str
    command: str
    created: str

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The figures that have to be reached, as far as they were measured."""
        return tuple(_goals(self.rows, self.footprints, self.starts))

    def as_dict(self) -> dict[str, Any]:
        """The results as JSON-ready fields."""
        reached = [{**asdict(goal), "is_reached": goal.is_reached} for goal in self.goals]
        return {**asdict(self), "goals": reached}


def _goals(
    rows: Sequence[Row], footprints: Sequence[Footprint], starts: Sequence[float]
) -> Iterator[Goal]:
    by_contestant = {row.contestant: row for row in rows}
    one = by_contestant.get(Contestant(RESNET, JOINING, BINARY, 1))
    if one is not None:
        what = "ResNet-18, concurrency 1: CPU of a request over bare ONNX Runtime"
        yield Goal(what, 1.08, one.ratio, "")
    many = by_contestant.get(Contestant(RESNET, JOINING, BINARY, 32))
    if many is not None:
        what = "ResNet-18, concurrency 32: CPU of a request over bare ONNX Runtime, batch 1"
        yield Goal(what, 1.0, many.ratio, "")
    toys = [by_contestant.get(Contestant(TOY, JOINING, form, 1)) for form in (BINARY, NUMBERED)]
    # The server knows JSON again that has come before: it has to be as cheap with other ids.
    costs = [toy.cpu_ms for toy in toys if toy is not None]
    if costs:
        yield Goal("toy model: CPU of a binary request, concurrency 1", 0.4, max(costs), "ms")
    above = [each.rss - each.bare_rss for each in footprints if each.server == JOINING]
    if above:
        yield Goal("resident memory above the session's, after the load", 120, max(above), "MB")
    if starts:
        yield Goal("demo: start to ready", 2, statistics.median(starts), "s")

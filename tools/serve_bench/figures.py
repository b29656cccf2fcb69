"""What is made of the turns: costs of a request, ratios, and whether a figure is reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Turn:
    """What a contestant did in a few seconds.

    Attributes:
        count: inputs that it ran.
        cpu_seconds: user and system time of all its processes meanwhile.
        seconds: that each answer took, as its client saw it.
    """

    count: int
    cpu_seconds: float
    seconds: tuple[float, ...]

    @property
    def cost(self) -> float:
        """CPU seconds an input.

        Raises:
            ValueError: it ran none.
        """
        if not self.count:
            raise ValueError("nothing was answered in a turn: give it more --seconds")
        return self.cpu_seconds / self.count


@dataclass(frozen=True)
class Compared:
    """A turn between two of bare ONNX Runtime.

    Attributes:
        turn: of the contestant.
        before: of ONNX Runtime, batch 1.
        after: the same.
    """

    turn: Turn
    before: Turn
    after: Turn

    @property
    def ratio(self) -> float:
        """CPU of an input over that of bare ONNX Runtime; what is the same for both cancels."""
        return self.turn.cost / ((self.before.cost + self.after.cost) / 2)


@dataclass(frozen=True)
class Contestant:
    """Who runs a model, and how it is asked.

    Attributes:
        model: its name.
        server: "ONNX Runtime", or the name of a server.
        form: of the requests; of bare ONNX Runtime, the batch.
        concurrency: requests at a time.
    """

    model: str
    server: str
    form: str
    concurrency: int


@dataclass(frozen=True)
class Row:
    """A contestant in figures.

    Attributes:
        contestant: of whom.
        count: inputs in all turns.
        cpu_ms: CPU milliseconds an input, in the turn with the fewest: others on the machine only
            ever add to it.
        ratio: of that over bare ONNX Runtime's with batch 1: the median over the turns.
        ratio_least: the least over the turns.
        ratio_greatest: the greatest.
        per_second: inputs a second by the clock, over all turns.
        latency_ms: PERCENTILES of the time of an answer, over all turns.
    """

    contestant: Contestant
    count: int
    cpu_ms: float
    ratio: float
    ratio_least: float
    ratio_greatest: float
    per_second: float
    latency_ms: tuple[float, ...]


def row_of(contestant: Contestant, turns: Sequence[Compared]) -> Row:
    """Summarise the turns of a contestant."""
    ratios = [each.ratio for each in turns]
    seconds = [value for each in turns for value in each.turn.seconds]
    count = sum(each.turn.count for each in turns)
    return Row(
        contestant,
        count,
        min(each.turn.cost for each in turns) * 1e3,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        count * contestant.concurrency / sum(seconds),
        tuple(percentile(seconds, q) * 1e3 for q in PERCENTILES),
    )


def percentile(values: Iterable[float], q: float) -> float:
    """The least value that q % of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * q / 100) - 1)]


@dataclass(frozen=True)
class Footprint:
    """Megabytes of a server and of a process that has only ONNX Runtime's session, after the load.

    Attributes:
        model: that both have.
        server: the server's name.
        rss: the server's, with all that it shares with others.
        pss: the server's, with its share of that.
        bare_rss: the other's, with all that it shares.
        bare_pss: the other's, with its share of that.
    """

    model: str
    server: str
    rss: float
    pss: float
    bare_rss: float
    bare_pss: float


@dataclass(frozen=True)
class Goal:
    """A figure that has to be reached.

    Attributes:
        what: it is.
        limit: that it may not exceed.
        found: what it is.
        unit: of both.
    """

    what: str
    limit: float
    found: float
    unit: str

    @property
    def is_reached(self) -> bool:
        """Whether it is within the limit."""
        return self.found <= self.limit

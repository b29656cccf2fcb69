"""Whether models have become slower from one measurement to another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.errors import InputError
from nd_deploy.profiling.differences import differences
from nd_deploy.profiling.entries import BUNDLE
from nd_deploy.profiling.figures import LATENCY, Remark
from nd_deploy.profiling.matching import Pair, match_rows
from nd_deploy.profiling.results import Profile, Row
from nd_deploy.profiling.statistics import Interval, Rounds, change_of

KIND = "nd-deploy comparison"
SLOWER, FASTER, NO_DIFFERENCE = "slower", "faster", "no difference seen"
BASELINE_CHANGED = "baseline changed"

_LIMIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")


@dataclass(frozen=True)
class RowChange:
    """How the time of one row has changed.

    Attributes:
        old: the row, as it was.
        new: the row, as it is.
        latency: new latency / old latency, in which a slower day of the machine shows too.
        ratio: new ratio / old ratio, each over the baseline of its own measurement, in which what
            slows the whole machine down cancels; None where they have no baseline in common.
        only_baseline: whether it is there for others to be held against: another row's `ratio` is
            over this one, and its model is no bundle.
    """

    old: Row
    new: Row
    latency: Interval
    ratio: Interval | None = None
    only_baseline: bool = False

    @property
    def change(self) -> Interval:
        """The figure to go by: the change of the ratio where there is one, else of the latency."""
        return self.latency if self.ratio is None else self.ratio

    @property
    def verdict(self) -> str:
        """SLOWER or FASTER if the whole interval of `change` says so, else NO_DIFFERENCE."""
        if self.change.low > 1:
            return SLOWER
        return FASTER if self.change.high < 1 else NO_DIFFERENCE

    def as_dict(self) -> dict[str, Any]:
        """The change as JSON-ready fields; times are seconds."""
        return {
            "old": self.old.contestant.as_dict(),
            "new": self.new.contestant.as_dict(),
            "old_p50": self.old.latency.p50,
            "new_p50": self.new.latency.p50,
            "latency": self.latency._asdict(),
            "ratio": None if self.ratio is None else self.ratio._asdict(),
            "only_baseline": self.only_baseline,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """What has changed between two measurements.

    Attributes:
        rows: those that both have, in the order of the new one.
        only_old: the names of the rows that only the old measurement has.
        only_new: the names of those that only the new one has.
        remarks: what else than the models may be behind a change.
    """

    rows: tuple[RowChange, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    remarks: tuple[Remark, ...]

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON-ready fields."""
        return {
            "kind": KIND,
            "rows": [row.as_dict() for row in self.rows],
            "only_old": list(self.only_old),
            "only_new": list(self.only_new),
            "remarks": [asdict(remark) for remark in self.remarks],
        }


def compare(old: Profile, new: Profile) -> Comparison:
    """Compare two measurements.

    Args:
        old: a measurement.
        new: a later one.

    Returns:
        Every row of both; `match_rows` says which are the same. Intervals are of 95 %, by
        `change_of`; a single turn says nothing of how far off it is, and gives an interval without
        bounds.

    Raises:
        InputError: no row is in both, or a row has no times.
    """
    _check_times(old, "old")
    _check_times(new, "new")
    matching = match_rows(old, new)
    by_name = {_names(pair): pair for pair in matching.pairs}
    bases = {names: _common_baseline(pair, by_name) for names, pair in by_name.items()}
    used = {_names(base) for base in bases.values() if base is not None}
    bundles = {model.name for model in new.models if model.kind == BUNDLE}
    rows = tuple(
        _row_change(pair, bases[names], names in used and pair[1].contestant.model not in bundles)
        for names, pair in by_name.items()
    )
    remarks = (*differences(old, new, matching.pairs), *_on_baselines(rows, used))
    return Comparison(rows, matching.only_old, matching.only_new, remarks)


def failures(comparison: Comparison, limit: float) -> tuple[RowChange, ...]:
    """The rows that have become slower by more than is allowed.

    Args:
        comparison: of two measurements.
        limit: how much slower a row may be, as a fraction of 1.

    Returns:
        Those whose change is estimated over 1 + limit and whose whole interval is above 1, so that
        noise alone fails nothing. What is there for others to be held against is not among them:
        a slower day of the machine would fail it.
    """
    return tuple(
        row
        for row in comparison.rows
        if not row.only_baseline and row.verdict == SLOWER and row.change.estimate > 1 + limit
    )


def parse_limit(text: str) -> float:
    """Read how much slower a row may be.

    Args:
        text: percent, such as "5%" or "2.5 %".

    Returns:
        A fraction of 1.

    Raises:
        InputError: it is something else.
    """
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"--fail-over {text} is no limit", "give it in percent, with the sign: --fail-over 5%"
        )
    return float(found[1]) / 100


def _check_times(profile: Profile, which: str) -> None:
    for row in profile.rows:
        openings = _times(row)
        times = [time for opening in openings for time in opening]
        if not openings or not all(openings) or not all(0 < time < math.inf for time in times):
            raise InputError(
                f"the {which} measurement has no times of {row.contestant}", "measure again"
            )


def _times(row: Row) -> Rounds:
    return row.metrics[LATENCY].rounds


def _change(old: Rounds, new: Rounds) -> Interval:
    found = change_of(old, new)
    if any(sum(map(len, rounds)) == 1 for rounds in (old, new)):
        return Interval(found.estimate, 0.0, math.inf)
    return found


def _row_change(pair: Pair, base: Pair | None, only_baseline: bool) -> RowChange:
    old, new = map(_times, pair)
    ratio = None
    if base is not None:
        old_base, new_base = map(_times, base)
        ratio = _change(_ratios(old, old_base), _ratios(new, new_base))
    return RowChange(*pair, _change(old, new), ratio, only_baseline)


def _names(pair: Pair) -> tuple[str, str]:
    return str(pair[0].contestant), str(pair[1].contestant)


def _common_baseline(pair: Pair, pairs: Mapping[tuple[str, str], Pair]) -> Pair | None:
    """What the ratios of two rows are over, if those are a pair too."""
    old, new = (row.ratio for row in pair)
    base = None if old is None or new is None else pairs.get((old.over, new.over))
    return base if base is not None and all(map(_took_turns, pair, base)) else None


def _took_turns(row: Row, other: Row) -> bool:
    return list(map(len, _times(row))) == list(map(len, _times(other)))


def _ratios(times: Rounds, over: Rounds) -> Rounds:
    return [
        [own / base for own, base in zip(*opening, strict=True)]
        for opening in zip(times, over, strict=True)
    ]


def _on_baselines(rows: Sequence[RowChange], baselines: Set[tuple[str, str]]) -> list[Remark]:
    return [
        Remark(
            BASELINE_CHANGED,
            f"{row.new.contestant}, which ratios are over, takes {row.latency.estimate:.2f} "
            f"[{row.latency.low:.2f}, {row.latency.high:.2f}] times as long as it did",
            "if the machine itself is no slower or faster, look at what has changed in it",
        )
        for row in rows
        if _names((row.old, row.new)) in baselines and row.verdict != NO_DIFFERENCE
    ]

"""The table of a measurement: what a terminal shows, and Markdown too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import COMPUTE, ENQUEUE, Usage
from nd_deploy.profiling.results import Profile, Row
from nd_deploy.report.numbers import Unit, interval, percent, significant, time_unit

Cells: TypeAlias = tuple[str, ...]
_Column: TypeAlias = tuple[str, Callable[[Row], str]]

_PERCENTILES = ("p50", "p90", "p95", "p99", "mean")


def table_of(profile: Profile) -> tuple[Cells, list[Cells]]:
    """Lay a measurement out, a line a row.

    Args:
        profile: the measurement.

    Returns:
        The headings, of which those that start with ">" are of columns aligned to the right, and
        the lines, those of a batch together. A column that no row has anything for is left out.
        The ratio and the times are those of the latency unless the heading says otherwise, all in
        one unit.
    """
    rows = sorted(profile.rows, key=lambda row: row.contestant.batch)
    unit = time_unit(row.latency.p50 for row in rows)
    headings, readers = zip(*_columns(unit), strict=True)
    return drop_empty(headings, [tuple(read(row) for read in readers) for row in rows])


def drop_empty(columns: Sequence[str], lines: Sequence[Cells]) -> tuple[Cells, list[Cells]]:
    """Leave out the columns that are empty in every line."""
    kept = [place for place in range(len(columns)) if any(line[place] for line in lines)]
    return (
        tuple(columns[place] for place in kept),
        [tuple(line[place] for place in kept) for line in lines],
    )


def contestant_columns() -> list[tuple[str, Callable[[Contestant], str]]]:
    """The headings that tell contestants apart, and what each of them says of one."""
    return [
        (">batch", lambda contestant: str(contestant.batch)),
        ("model", lambda contestant: contestant.model),
        ("runtime", lambda contestant: contestant.runtime),
        (">threads", lambda contestant: str(contestant.threads or "")),
        ("run with", _run_with),
    ]


def _columns(unit: Unit) -> list[_Column]:
    return [
        *((name, _of_contestant(read)) for name, read in contestant_columns()),
        (">ratio", _ratio),
        *((f">{name} {unit.name}", _latency(name, unit)) for name in _PERCENTILES),
        (">CV", lambda row: percent(row.latency.cv)),
        (">inputs/s", lambda row: significant(row.throughput)),
        *((f">{metric} {unit.name}", _median(metric, unit)) for metric in (COMPUTE, ENQUEUE)),
        (">of GEMM peak", _share(lambda usage: usage.of_gemm)),
        (">of roofline", _share(lambda usage: usage.of_roofline)),
    ]


def _run_with(contestant: Contestant) -> str:
    options = (("CUDA graph", contestant.cuda_graph), ("cold L2", contestant.cold_l2))
    return ", ".join(name for name, given in options if given)


def _of_contestant(read: Callable[[Contestant], str]) -> Callable[[Row], str]:
    return lambda row: read(row.contestant)


def _ratio(row: Row) -> str:
    ratio = row.ratio
    return "" if ratio is None else interval(ratio.estimate, ratio.low, ratio.high)


def _latency(name: str, unit: Unit) -> Callable[[Row], str]:
    return lambda row: unit.of(getattr(row.latency, name))


def _median(metric: str, unit: Unit) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        measured = row.metrics.get(metric)
        return "" if measured is None else unit.of(measured.summary.p50)

    return cell


def _share(read: Callable[[Usage], float | None]) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        share = None if row.usage is None else read(row.usage)
        return "" if share is None else percent(share)

    return cell

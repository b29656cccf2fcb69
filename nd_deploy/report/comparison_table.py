"""The table of a comparison of two measurements."""

from __future__ import annotations

from nd_deploy.profiling.comparison import Comparison, RowChange
from nd_deploy.profiling.statistics import Interval
from nd_deploy.report.numbers import interval, time_unit
from nd_deploy.report.table import Cells, contestant_columns, drop_empty


def comparison_table(comparison: Comparison) -> tuple[Cells, list[Cells]]:
    """Lay a comparison out, a line a row.

    Args:
        comparison: of two measurements.

    Returns:
        Headings and lines, as `nd_deploy.report.table.table_of` gives them: the medians of the
        latency, new / old of the latency and of the ratio over the baseline, and the verdict, which
        goes by the ratio where there is one.
    """
    rows = sorted(comparison.rows, key=lambda row: row.new.contestant.batch)
    unit = time_unit(row.new.latency.p50 for row in rows)
    own = contestant_columns()
    columns = (
        *(name for name, _ in own),
        f">old p50 {unit.name}",
        f">new p50 {unit.name}",
        ">change of latency",
        ">change of ratio",
        "verdict",
    )
    lines = [
        (
            *(_either(read(row.old.contestant), read(row.new.contestant)) for _, read in own),
            unit.of(row.old.latency.p50),
            unit.of(row.new.latency.p50),
            _interval(row.latency),
            _interval(row.ratio),
            _verdict(row),
        )
        for row in rows
    ]
    return drop_empty(columns, lines)


def _either(old: str, new: str) -> str:
    """What both are called; the bundles of two measurements may have names of their own."""
    return new if old == new else f"{old} -> {new}"


def _interval(change: Interval | None) -> str:
    return "" if change is None else interval(*change)


def _verdict(row: RowChange) -> str:
    return f"{row.verdict} (baseline)" if row.only_baseline else row.verdict

"""A measurement as CSV: one line for every metric of every row, times in seconds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict

from nd_deploy.profiling.figures import COMPUTE, LATENCY, Ratio, Summary
from nd_deploy.profiling.results import Profile, Row

_CONTESTANT = ("model", "runtime", "batch", "threads", "cuda_graph", "cold_l2")
_TIMES = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")
_RATIO = ("over", "estimate", "low", "high", "confidence")
_USAGE = ("flops", "bytes", "of_gemm", "of_copy", "of_roofline")

COLUMNS = (
    "created",
    *_CONTESTANT,
    "metric",
    "n",
    *(f"{name}_s" for name in _TIMES),
    "cv",
    *(f"ratio_{name}" for name in _RATIO),
    "throughput_per_s",
    "error",
    *_USAGE,
)
HEADING = ",".join(COLUMNS) + "\n"


def to_csv(profile: Profile) -> str:
    """A measurement as the text of a CSV file.

    Args:
        profile: the measurement.

    Returns:
        A heading of COLUMNS and a line for every metric of every row. What is nothing but the
        row's own (its throughput, its error, what it makes use of) is in its line of the latency,
        so that no sum counts it twice. What there is none of is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_lines(profile))
    return text.getvalue()


def _lines(profile: Profile) -> Iterator[dict[str, object]]:
    for row in profile.rows:
        whole = {"created": profile.created, **row.contestant.as_dict()}
        ratios = {LATENCY: row.ratio, COMPUTE: row.compute_ratio}
        for metric, measured in row.metrics.items():
            line = whole | {"metric": metric} | _of_summary(measured.summary)
            line |= _of_ratio(ratios.get(metric))
            if metric == LATENCY:
                line |= _of_row(row)
            yield {name: _cell(value) for name, value in line.items()}


def _of_summary(summary: Summary) -> dict[str, object]:
    times = {f"{name}_s": getattr(summary, name) for name in _TIMES}
    return {"n": summary.n, **times, "cv": summary.cv}


def _of_ratio(ratio: Ratio | None) -> dict[str, object]:
    return {} if ratio is None else {f"ratio_{name}": getattr(ratio, name) for name in _RATIO}


def _of_row(row: Row) -> dict[str, object]:
    usage = {} if row.usage is None else asdict(row.usage)
    own = {"throughput_per_s": row.throughput, "error": row.error}
    return own | {name: usage.get(name) for name in _USAGE}


def _cell(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value

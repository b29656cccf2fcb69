"""The tables that have a line for every row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from nd_deploy.bundle.files import readable_size
from nd_deploy.page.markup import details, section
from nd_deploy.profiling.figures import COMPUTE, DOWNLOAD, ENQUEUE, UPLOAD, Ratio
from nd_deploy.profiling.results import Row
from nd_deploy.report.numbers import Unit, interval, percent, significant, time_unit
from nd_deploy.report.page.amounts import aligned, symbol
from nd_deploy.report.page.names import Named
from nd_deploy.report.page.pieces import table
from nd_deploy.report.table import drop_empty

_TIMES = ("p50", "p90", "p95", "p99", "mean")
_ON_GPU = {
    COMPUTE: "compute",
    ENQUEUE: "enqueue",
    UPLOAD: "copy to the GPU",
    DOWNLOAD: "copy back",
}


def rows_section(rows: Sequence[Named], common: str, level: int, prefix: str) -> str:
    """The latency of every row, with what else there is to say of it in a number."""
    unit = time_unit(named.row.latency.p50 for named in rows)
    all_alike = f" All rows: {common}." if common else ""
    return section(
        "Latency",
        _table(
            f"Latency in {symbol(unit)}, from the call to its end. CV: standard deviation over "
            f"mean. Error: against PyTorch in float64.{all_alike}",
            rows,
            _latency_columns([named.row for named in rows], unit),
        ),
        _on_gpu(rows),
        _memory_and_start(rows),
        level=level,
        name=f"{prefix}latency",
    )


def _table(caption: str, rows: Sequence[Named], columns: Mapping[str, Sequence[str]]) -> str:
    labels = [named.label for named in rows]
    lines = list(zip(labels, *columns.values(), strict=True))
    return table(caption, *drop_empty(("row", *columns), lines))


def _latency_columns(rows: Sequence[Row], unit: Unit) -> dict[str, list[str]]:
    over = {row.ratio.over for row in rows if row.ratio is not None}
    # All in one, so that the columns have the same decimals too.
    times = aligned([getattr(row.latency, name) / unit.size for name in _TIMES for row in rows])
    return {
        **{
            f">{name}": times[place * len(rows) : (place + 1) * len(rows)]
            for place, name in enumerate(_TIMES)
        },
        ">CV": [percent(row.latency.cv) for row in rows],
        ">inputs/s": [significant(row.throughput) for row in rows],
        ">error": ["" if row.error is None else f"{row.error:.1e}" for row in rows],
        ">ratio": [
            "baseline" if str(row.contestant) in over else _in_words(row.ratio) for row in rows
        ],
    }


def _in_words(ratio: Ratio | None) -> str:
    return "" if ratio is None else interval(ratio.estimate, ratio.low, ratio.high)


def _on_gpu(rows: Sequence[Named]) -> str:
    """The medians of what a GPU's latency is made of, where a row has any."""
    told = [named for named in rows if any(metric in named.row.metrics for metric in _ON_GPU)]
    if not told:
        return ""
    found = [named.row for named in told]
    medians = [row.metrics[name].summary.p50 for row in found for name in row.metrics]
    unit = time_unit(medians)
    columns = {
        f">{heading}": _texts(
            (row.metrics[metric].summary.p50 if metric in row.metrics else None for row in found),
            lambda seconds: unit.of(seconds),
        )
        for metric, heading in _ON_GPU.items()
    }
    columns[">compute ratio"] = [_in_words(row.compute_ratio) for row in found]
    return details(
        "On the GPU: compute, enqueue, copies",
        _table(
            f"Medians in {symbol(unit)}. Compute: between events of the GPU. Enqueue: until the "
            "call returns to the host. Copies: of all inputs and of all outputs.",
            told,
            columns,
        ),
    )


def _memory_and_start(rows: Sequence[Named]) -> str:
    """What each row takes before it runs, where that is known."""
    found = [named.row for named in rows]
    uses = dict.fromkeys(use for row in found for use in row.memory)
    steps = dict.fromkeys(step for row in found for step in row.setup)
    if not uses and not steps:
        return ""
    columns = {
        f">{use} memory": _texts((row.memory.get(use) for row in found), readable_size)
        for use in uses
    } | {
        f">{step}, s": _texts((row.setup.get(step) for row in found), significant) for step in steps
    }
    return details(
        "Memory and start",
        _table("Memory, and the steps up to the first result.", rows, columns),
    )


def _texts(values: Iterable[float | None], text: Callable[[float], str]) -> list[str]:
    return ["" if value is None else text(value) for value in values]

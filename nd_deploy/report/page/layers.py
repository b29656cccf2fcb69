"""The layers before and after the fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nd_deploy.page.markup import paragraph, section
from nd_deploy.page.picture import draw_both
from nd_deploy.profiling.results import ModelRecord
from nd_deploy.report.numbers import time_unit
from nd_deploy.report.page.amounts import aligned, symbol
from nd_deploy.report.page.charts.layer_bars import Bars, layer_chart
from nd_deploy.report.page.charts.paper import DENSITY
from nd_deploy.report.page.layer_pairs import LayerPair, layer_pairs
from nd_deploy.report.page.names import Named
from nd_deploy.report.page.pieces import chart, table

# More would make a picture that is longer than it is worth; the table has all.
_BARS = 24


def layers_section(
    rows: Sequence[Named], models: Iterable[ModelRecord], level: int, prefix: str
) -> str:
    """The layers of every row that has them, beside those of its baseline; "" for none."""
    pairs = layer_pairs(rows, models)
    if not pairs:
        return ""
    return section(
        "Layers",
        paragraph(
            "From a run of its own that times every layer, which slows the whole down: these times "
            "say which layer is worth a look, and their sum is no latency."
        ),
        *map(_part, pairs),
        level=level,
        name=f"{prefix}layers",
    )


def _part(pair: LayerPair) -> str:
    shown = [named.label for named in (pair.before, pair.after) if named is not None]
    bars: Bars = [
        (layer, times if pair.before is not None else times[1:])
        for layer, times in pair.seconds.items()
    ]
    drawn = _longest(bars)
    what = f"Time of each layer in {' and in '.join(shown)}"
    left_out = f"; the {_BARS} longest of {len(bars)}" if len(drawn) < len(bars) else ""
    picture = draw_both(
        lambda theme: layer_chart(shown, drawn, theme), _in_words(what, bars), DENSITY
    )
    return chart(picture, f"{what}{left_out}.", _numbers(what, shown, bars))


def _longest(bars: Bars) -> Bars:
    """The layers that take longest, in the order of the network."""
    limit = sorted((_most(times) for _, times in bars), reverse=True)[:_BARS][-1]
    return [(layer, times) for layer, times in bars if _most(times) >= limit][:_BARS]


def _most(times: Sequence[float | None]) -> float:
    return max((seconds for seconds in times if seconds is not None), default=0.0)


def _in_words(what: str, bars: Bars) -> str:
    layer, times = max(bars, key=lambda bar: _most(bar[1]))
    return (
        f"Bar chart. {what}: {len(bars)} layers, of which {layer} takes longest, "
        f"{1e6 * _most(times):.3g} µs."
    )


def _numbers(what: str, shown: Sequence[str], bars: Bars) -> str:
    unit = time_unit([max(_most(times) for _, times in bars)])
    columns = [[times[place] for _, times in bars] for place in range(len(shown))]
    return table(
        f"{what}, in {symbol(unit)}",
        ("layer", *(f">{name}" for name in shown)),
        zip(
            (layer for layer, _ in bars),
            *(_cells(each, unit.size) for each in columns),
            strict=True,
        ),
    )


def _cells(seconds: Sequence[float | None], size: float) -> list[str]:
    texts = iter(aligned([value / size for value in seconds if value is not None]))
    return ["" if value is None else next(texts) for value in seconds]

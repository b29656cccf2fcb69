"""The time of each layer, before and after the fold, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.page.canvas import PALETTE, Theme, legend
from nd_deploy.report.numbers import time_unit
from nd_deploy.report.page.amounts import aligned, symbol
from nd_deploy.report.page.charts.paper import TEXT, Lanes, new_chart, to_small_png

Bars = Sequence[tuple[str, Sequence[float | None]]]
"""(layer, seconds of each of the shown rows)."""

_LEGEND = 0.25
_BEFORE = PALETTE[5]


def layer_chart(shown: Sequence[str], bars: Bars, theme: Theme) -> bytes:
    """Draw the layers of one row, or of two.

    Args:
        shown: the names of the rows.
        bars: of each layer the seconds in each of the rows, None where a row has no such layer.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    known = [seconds for _, times in bars for seconds in times if seconds is not None]
    unit = time_unit([max(known, default=1.0)])
    texts = iter(aligned([seconds / unit.size for seconds in known], max))
    notes = [" → ".join("none" if s is None else next(texts) for s in times) for _, times in bars]
    lanes = Lanes([name for name, _ in bars], notes)
    figure = new_chart(lanes.height + _LEGEND * len(shown), theme)
    axes = figure.subplots()
    lanes.write(axes, theme)
    colours = (_BEFORE, theme.accent)[-len(shown) :]
    thickness = 1.8 * lanes.reach / len(shown)
    for place, (name, colour) in enumerate(zip(shown, colours, strict=True)):
        tops = [
            lanes.middle(row) - 0.9 * lanes.reach + place * thickness for row in range(len(bars))
        ]
        widths = [(times[place] or 0.0) / unit.size for _, times in bars]
        axes.barh(tops, widths, thickness * 0.9, align="edge", color=colour, label=name)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"time of the layer, {symbol(unit)}", size=TEXT)
    legend(figure, theme, loc="outside upper left", ncols=1, fontsize=TEXT)
    return to_small_png(figure)

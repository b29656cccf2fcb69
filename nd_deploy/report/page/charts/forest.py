"""The ratio plot: every comparison as a point with its interval, beside the line at 1."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.page.canvas import PALETTE, Theme
from nd_deploy.profiling.figures import Ratio
from nd_deploy.report.headline import no_difference
from nd_deploy.report.numbers import interval
from nd_deploy.report.page.charts.paper import (
    TEXT,
    Lanes,
    is_wide_range,
    logarithmic,
    new_chart,
    to_small_png,
)

_SLOWER = PALETTE[1]


def forest_chart(names: Sequence[str], ratios: Sequence[Ratio], theme: Theme) -> bytes:
    """Draw ratios.

    Args:
        names: of the rows, one a ratio.
        ratios: finite and positive.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    lanes = Lanes(names, [interval(r.estimate, r.low, r.high) for r in ratios])
    figure = new_chart(lanes.height, theme)
    axes = figure.subplots()
    lanes.write(axes, theme)
    ends = [1.0, *(end for ratio in ratios for end in (ratio.low, ratio.high))]
    if is_wide_range(ends):
        logarithmic(axes, ends)
    axes.axvline(1, color=theme.ink, linewidth=1)
    for row, ratio in enumerate(ratios):
        colour = theme.ink if no_difference(ratio) else theme.accent if ratio.high < 1 else _SLOWER
        place = lanes.middle(row)
        axes.hlines(place, ratio.low, ratio.high, color=colour, linewidth=2.5)
        axes.vlines(
            (ratio.low, ratio.high), place - lanes.reach / 2, place + lanes.reach / 2, color=colour
        )
        axes.plot(ratio.estimate, place, "o", color=colour, markersize=6)
    axes.set_xlabel("time over the baseline's   (left of 1: faster)", size=TEXT)
    return to_small_png(figure)

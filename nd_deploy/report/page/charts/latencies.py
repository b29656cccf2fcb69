"""Latencies: where each row's lie, and how they spread around their median."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nd_deploy.page.canvas import Theme
from nd_deploy.profiling.figures import Summary
from nd_deploy.report.numbers import Unit, percent, time_unit
from nd_deploy.report.page.amounts import aligned, symbol
from nd_deploy.report.page.charts.paper import (
    TEXT,
    Lanes,
    is_wide_range,
    logarithmic,
    new_chart,
    to_small_png,
)
from nd_deploy.report.page.spread import Spread

_POINTS = 400


def latency_chart(names: Sequence[str], summaries: Sequence[Summary], theme: Theme) -> bytes:
    """Draw the latency of every row on one axis: all but the outermost percents, and the median.

    Args:
        names: of the rows.
        summaries: one a row.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    unit = time_unit(summary.p50 for summary in summaries)
    medians = aligned([summary.p50 / unit.size for summary in summaries])
    lanes = Lanes(names, [f"{median} {symbol(unit)}" for median in medians])
    figure = new_chart(lanes.height, theme)
    axes = figure.subplots()
    lanes.write(axes, theme)
    ends = [_percentile(summary, percent, unit) for summary in summaries for percent in (1, 99)]
    if is_wide_range(ends):
        logarithmic(axes, ends)
    else:
        axes.set_xlim(0, max(ends) * 1.05)
    for row, summary in enumerate(summaries):
        place = lanes.middle(row)
        low, first, median, third, high = (
            _percentile(summary, percent, unit) for percent in (1, 25, 50, 75, 99)
        )
        axes.hlines(place, low, high, color=theme.accent, linewidth=2)
        axes.hlines(place, first, third, color=theme.accent, linewidth=9, alpha=0.6)
        axes.plot(median, place, "o", color=theme.accent, markersize=5.5)
    axes.set_xlabel(f"latency, {symbol(unit)}", size=TEXT)
    return to_small_png(figure)


def spread_chart(
    names: Sequence[str], spreads: Sequence[Spread], reach: tuple[float, float], theme: Theme
) -> bytes:
    """Draw how the latencies of each row are spread, as densities of the same height.

    Args:
        names: of the rows.
        spreads: one a row.
        reach: the shares over the median that the axis goes from and to.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    lanes = Lanes(names, [f"p99 +{percent(spread.tail)}" for spread in spreads])
    figure = new_chart(lanes.height, theme)
    axes = figure.subplots()
    lanes.write(axes, theme)
    shares = np.linspace(*reach, _POINTS)
    axes.set_xlim(100 * reach[0], 100 * reach[1])
    axes.axvline(0, color=theme.ink, linewidth=0.8)
    for row, spread in enumerate(spreads):
        heights = spread.density(shares)
        floor = lanes.middle(row) + lanes.reach
        tops = floor - 1.9 * lanes.reach * heights / heights.max()
        axes.fill_between(100 * shares, floor, tops, color=theme.accent, alpha=0.45, linewidth=0)
        axes.plot(100 * shares, tops, color=theme.accent, linewidth=1.2)
    axes.set_xlabel("latency over its median, %", size=TEXT)
    return to_small_png(figure)


def _percentile(summary: Summary, percent: int, unit: Unit) -> float:
    return summary.quantiles[percent] / unit.size

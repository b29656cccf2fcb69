"""The roofline: how much of the machine's measured peaks each row and layer reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nd_deploy.page.canvas import PALETTE, Theme, style
from nd_deploy.profiling.work.usage import RooflinePoint, attainable
from nd_deploy.report.page.amounts import scaled
from nd_deploy.report.page.charts.paper import TEXT, new_chart, to_small_png
from nd_deploy.report.page.roofs import Roof

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 3.6
_LAYERS = PALETTE[5]


def roofline_chart(
    roof: Roof, rows: Sequence[RooflinePoint], layers: Sequence[RooflinePoint], theme: Theme
) -> bytes:
    """Draw points under a roof.

    Args:
        roof: the machine's peaks.
        rows: whose names are short enough to stand in a circle; at least one.
        layers: whose names are not drawn.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    figure = new_chart(_HEIGHT, theme)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log")
    left, right = _reach([roof.ridge, *(p.intensity for p in (*rows, *layers))], 2.0)
    ends = (left, roof.ridge, right)
    heights = [attainable(end, roof.flops_per_s, roof.bytes_per_s) for end in ends]
    axes.plot(ends, heights, color=theme.ink, linewidth=1.8)
    axes.plot(
        [point.intensity for point in layers],
        [point.flops_per_s for point in layers],
        "o",
        color=_LAYERS,
        markersize=4,
        alpha=0.6,
    )
    for point in rows:
        _draw_row(axes, point, theme)
    axes.set_xlim(left, right)
    axes.set_ylim(*_reach([*heights, *(p.flops_per_s for p in (*rows, *layers))], 2.5))
    axes.set_xlabel("operations per byte moved", size=TEXT)
    axes.set_ylabel("operations per second", size=TEXT)
    axes.yaxis.set_major_formatter(lambda value, _: scaled(value, "", 1))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    style(axes, theme, "both", TEXT)
    return to_small_png(figure)


def _draw_row(axes: Axes, point: RooflinePoint, theme: Theme) -> None:
    axes.annotate(
        point.name,
        (point.intensity, point.flops_per_s),
        ha="center",
        va="center",
        size=TEXT,
        weight="bold",
        color=theme.paper,
        parse_math=False,
        bbox={"boxstyle": "circle,pad=0.25", "facecolor": theme.accent, "edgecolor": theme.paper},
    )


def _reach(values: Sequence[float], room: float) -> tuple[float, float]:
    known = [value for value in values if 0 < value < math.inf]
    return min(known) / room, max(known) * room

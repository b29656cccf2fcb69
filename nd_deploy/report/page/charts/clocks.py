"""How the device fared during the measurement: its clocks, temperature and power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nd_deploy.page.canvas import PALETTE, Theme, legend, style
from nd_deploy.report.page.charts.paper import TEXT, new_chart, to_small_png
from nd_deploy.report.page.fared import Panel, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _AXIS, _LEGEND = 1.15, 0.45, 0.25


def clock_chart(panels: Sequence[Panel], throttled: Sequence[Span], theme: Theme) -> bytes:
    """Draw what was sampled over the time of the measurement.

    Args:
        panels: at least one.
        throttled: from and to which second the clocks were held down.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    legends = sum(_LEGEND for panel in panels if len(panel.lines) > 1)
    figure = new_chart(_PANEL * len(panels) + _AXIS + legends, theme)
    parts = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axes, panel in zip(parts.flat, panels, strict=True):
        _draw(axes, panel, throttled, theme)
    parts.flat[-1].set_xlabel("seconds since the measurement began", size=TEXT)
    return to_small_png(figure)


def _draw(axes: Axes, panel: Panel, throttled: Sequence[Span], theme: Theme) -> None:
    for begin, end in throttled:
        axes.axvspan(begin, end, color=PALETTE[1], alpha=0.2, linewidth=0)
    for place, (name, points) in enumerate(panel.lines.items()):
        colour = theme.accent if len(panel.lines) == 1 else PALETTE[place % len(PALETTE)]
        seconds, values = zip(*points, strict=True)
        axes.plot(seconds, values, "-" if len(points) > 1 else "o", color=colour, label=name)
    style(axes, theme, "y", TEXT)
    axes.set_title(panel.title, loc="left", size=TEXT, color=theme.ink, parse_math=False)
    # Around values that hardly change, an axis would else write an offset.
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(y=0.2)
    if len(panel.lines) > 1:
        legend(axes, theme, fontsize=TEXT, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.15))

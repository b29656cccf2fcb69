"""Figures in the colours of a light or a dark page, without pyplot and its global state."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nd_deploy import compat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, FigureBase

DPI = 150
# Pages show figures beside text of 16 pixels, phones at a third of their width.
TEXT, SMALL = 10, 8
# Up to this many, a logarithmic axis has room for three labels a decade.
_FEW_DECADES = 2.5

# Okabe and Ito's palette, which all kinds of colour vision tell apart, without its yellow and
# black; markers tell the kinds of layers apart as well.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")

Mark: TypeAlias = tuple[str, str]
"""A colour and a marker."""


@dataclass(frozen=True)
class Theme:
    """The colours of a page.

    Attributes:
        paper: behind everything.
        ink: of text and axes.
        faint: of grids.
        accent: of what there is to see, where it needs no colours that tell kinds apart.
    """

    paper: str
    ink: str
    faint: str
    accent: str


LIGHT = Theme("#ffffff", "#1a1a1a", "#d9d9d9", PALETTE[0])
DARK = Theme("#16181d", "#e6e6e6", "#3a3d45", PALETTE[4])


def require_drawing(extra: str) -> None:
    """Make sure, before any work, that figures can be drawn.

    Args:
        extra: of nd-deploy, which installs what draws them.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    compat.require("matplotlib", extra)
    compat.require("matplotlib.backends.backend_agg", extra)


def new_figure(width: float, height: float, theme: Theme, dpi: int = DPI) -> Figure:
    """An empty figure of a size in inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi, facecolor=theme.paper, layout="constrained")


def style(
    axes: Axes,
    theme: Theme,
    grid: Literal["x", "y", "both"] | None = None,
    small: float = SMALL,
) -> None:
    """Give axes the page's colours.

    Args:
        axes: what to colour.
        theme: the page.
        grid: the axis that gets grid lines, "x", "y" or "both".
        small: the size of the axes' labels, in points.
    """
    axes.set_facecolor(theme.paper)
    axes.tick_params(which="both", colors=theme.ink, labelsize=small)
    axes.xaxis.label.set(color=theme.ink, size=small)
    axes.yaxis.label.set(color=theme.ink, size=small)
    axes.title.set(color=theme.ink, size=TEXT)
    for side, spine in axes.spines.items():
        spine.set_color(theme.ink)
        spine.set_visible(side in ("left", "bottom"))
    if grid is not None:
        axes.grid(True, axis=grid, color=theme.faint, linewidth=0.6)
        axes.set_axisbelow(True)


def plain_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Label a logarithmic axis with plain numbers, few enough not to touch.

    Args:
        axis: what to label.
        values: what will be drawn along it; those that are not positive do not count.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    known = [value for value in values if 0 < value < math.inf]
    decades = math.log10(max(known) / min(known)) if known else 0.0
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < _FEW_DECADES else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def legend(shown: Axes | FigureBase, theme: Theme, **placed: Any) -> None:  # noqa: ANN401
    """Name what axes, or all axes of a figure or of its part, show; `placed` says where."""
    shown.legend(labelcolor=theme.ink, frameon=False, **({"fontsize": SMALL} | placed))


def marks_of(kinds: Iterable[str]) -> dict[str, Mark]:
    """A colour and a marker for each kind, in the order in which they first occur."""
    return {
        kind: (PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)])
        for place, kind in enumerate(dict.fromkeys(kinds))
    }


def to_png(figure: Figure) -> bytes:
    """Draw a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def shortened(name: str, width: int) -> str:
    """A name of at most `width` characters, with its middle left out."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"

"""The paper that charts are drawn on: as wide as a telephone, so that no text is ever shrunk."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd_deploy.page.canvas import Theme, new_figure, plain_ticks, shortened, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 96
"""Of a page's layout, whatever the screen."""
DPI = 200
DENSITY = DPI / PIXELS_PER_INCH
# 390 pixels, a common telephone, without the page's margins.
WIDTH = 358 / PIXELS_PER_INCH
TEXT = 9.5
"""Points: a little under the 16 pixels of the page's text."""

_LINE, _MARKS, _AROUND = 0.19, 0.24, 0.75
# Characters of TEXT that fit across the paper, and how much wider those of a note are.
_ACROSS, _BOLD = 54, 1.1
_NAME = 50
# Values that differ by more than this factor need a logarithmic axis to be told apart.
_LINEAR = 5.0


@dataclass(frozen=True)
class Lanes:
    """One lane a row, from top to bottom: its name in text, and below that room for its marks.

    Attributes:
        names: of the rows.
        notes: a number for each row, which stands at the right end of its text.
    """

    names: Sequence[str]
    notes: Sequence[str]

    @property
    def lines(self) -> int:
        """How many lines of text a lane needs."""
        pairs = zip(self.names, self.notes, strict=True)
        return 1 if all(len(name) + _BOLD * len(note) + 2 <= _ACROSS for name, note in pairs) else 2

    @property
    def text_share(self) -> float:
        """The share of a lane's height that its text takes."""
        return _LINE * self.lines / (_LINE * self.lines + _MARKS)

    @property
    def height(self) -> float:
        """Inches of a figure that has these lanes and an axis below them."""
        return len(self.names) * (_LINE * self.lines + _MARKS) + _AROUND

    def middle(self, row: int) -> float:
        """Where on the vertical axis the marks of a row lie; `reach` to both sides is theirs."""
        return row + (1 + self.text_share) / 2

    @property
    def reach(self) -> float:
        """Half of the height that marks have, in units of the vertical axis."""
        return (1 - self.text_share) / 2

    def write(self, axes: Axes, theme: Theme) -> None:
        """Write the names and notes, and make the axes fit the lanes."""
        from matplotlib.ticker import MaxNLocator

        line = self.text_share / self.lines
        text: dict[str, Any] = {
            "transform": axes.get_yaxis_transform(),
            "size": TEXT,
            "color": theme.ink,
            "va": "top",
            "parse_math": False,
            # Lines of the axes would else run through the text.
            "bbox": {"facecolor": theme.paper, "edgecolor": "none", "pad": 1},
            # Nor has a long name to push the axes aside.
            "in_layout": False,
        }
        for row, (name, note) in enumerate(zip(self.names, self.notes, strict=True)):
            top = row + 0.05
            below = top + line * (self.lines - 1)
            axes.text(0, top, shortened(name, _NAME), **text)
            axes.text(1, below, note, ha="right", weight="bold", **text)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(len(self.names) + 0.08, 0)
        axes.set_yticks([])
        style(axes, theme, "x", TEXT)
        axes.spines["left"].set_visible(False)


def new_chart(height: float, theme: Theme) -> Figure:
    """An empty figure of a height in inches, as wide as a telephone."""
    return new_figure(WIDTH, height, theme, DPI)


def to_small_png(figure: Figure) -> bytes:
    """Draw a figure of few colours, in half of the bytes that all colours would take."""
    # matplotlib needs Pillow itself.
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="rgba")
    size = figure.canvas.get_width_height()
    pixels = Image.frombytes("RGBA", size, drawn.getvalue()).convert("RGB")
    few = pixels.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG")
    return buffer.getvalue()


def is_wide_range(values: Iterable[float]) -> bool:
    """Whether positive values differ so much that they need a logarithmic axis."""
    known = [value for value in values if 0 < value < math.inf]
    return bool(known) and max(known) / min(known) > _LINEAR


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with plain numbers and some room at both ends."""
    known = [value for value in values if 0 < value < math.inf]
    axes.set_xscale("log")
    axes.set_xlim(min(known) / 1.3, max(known) * 1.3)
    plain_ticks(axes.xaxis, known)

"""A picture that suits a light and a dark page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nd_deploy.page.canvas import DARK, LIGHT, Theme


@dataclass(frozen=True)
class Picture:
    """A picture for a light and for a dark page.

    Attributes:
        light: a PNG.
        dark: the same in other colours.
        alt: what it shows, in words.
        density: how many of its pixels a pixel of the page's layout holds.
    """

    light: bytes
    dark: bytes
    alt: str
    density: float = 1.0


def draw_both(chart: Callable[[Theme], bytes], alt: str, density: float = 1.0) -> Picture:
    """Draw a chart for a light and for a dark page.

    Args:
        chart: from a theme to a PNG.
        alt: what it shows, in words.
        density: as of Picture.
    """
    return Picture(chart(LIGHT), chart(DARK), alt, density)

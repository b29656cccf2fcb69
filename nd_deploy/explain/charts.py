"""The spectrum of every layer's D as a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nd_deploy.explain.spectrum import LayerSpectrum, remark_on
from nd_deploy.page.canvas import (
    SMALL,
    TEXT,
    Mark,
    Theme,
    legend,
    marks_of,
    new_figure,
    plain_ticks,
    shortened,
    style,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_WIDTH = 8.0
_ROW = 0.2
_COLUMNS = 4
# More would be too small to read.
_CURVES = 12
_NAME, _TITLE = 34, 22
# A depthwise convolution has hundreds of matrices, and their curves hide each other.
_MATRICES = 32


def spectrum_chart(layers: Sequence[LayerSpectrum], theme: Theme) -> bytes:
    """Draw the spectra: a band a layer with cond(D) beside it, and curves of some layers.

    Args:
        layers: at least one.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    curves = chosen_for_curves(layers)
    rows = math.ceil(len(curves) / _COLUMNS)
    heights = [1.4 + _ROW * len(layers), 0.6 + 1.35 * rows]
    figure = new_figure(_WIDTH, sum(heights), theme)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).flat
    marks = marks_of(layer.kind for layer in layers)
    _draw_overview(above, layers, marks, theme)
    _draw_curves(below, curves, len(layers), marks, theme)
    return to_png(figure)


def chosen_for_curves(layers: Sequence[LayerSpectrum]) -> list[LayerSpectrum]:
    """The layers whose spectrum is drawn as a curve: all, or those of the largest cond(D)."""
    healthy = [layer for layer in layers if math.isfinite(layer.condition)]
    largest = sorted(healthy, key=lambda layer: -layer.condition)[:_CURVES]
    return [layer for layer in healthy if any(layer is other for other in largest)]


def _draw_overview(
    part: SubFigure, layers: Sequence[LayerSpectrum], marks: Mapping[str, Mark], theme: Theme
) -> None:
    part.set_facecolor(theme.paper)
    bands, conditions = part.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for axes in (bands, conditions):
        axes.set_xscale("log")
    plain_ticks(bands.xaxis, (v for layer in layers for v in layer.eigenvalues.flat))
    plain_ticks(conditions.xaxis, (v for x in layers for v in (x.condition, x.bound or 1.0)))
    for kind, mark in marks.items():
        rows = [row for row, layer in enumerate(layers) if layer.kind == kind]
        _draw_bands(bands, rows, layers, kind, mark)
        known = [row for row in rows if math.isfinite(layers[row].condition)]
        _draw_marks(conditions, [layers[row].condition for row in known], known, mark)
    _draw_remarks(bands, layers, theme)
    names = [shortened(layer.layer or "(the network)", _NAME) for layer in layers]
    bands.set_yticks(range(len(layers)), names, parse_math=False)
    bands.set_ylim(len(layers) - 0.4, -0.6)
    bands.set(title="Eigenvalues of D", xlabel="line: all; bar: middle half; mark: median")
    conditions.set(title="cond(D)", xlabel="largest eigenvalue over smallest")
    _draw_bounds(conditions, layers, theme)
    for axes in (bands, conditions):
        style(axes, theme, "x")
    conditions.tick_params(labelleft=False)
    legend(part, theme, loc="outside upper center", ncols=3)


def _draw_bands(
    axes: Axes, rows: Sequence[int], layers: Sequence[LayerSpectrum], kind: str, mark: Mark
) -> None:
    """The spectra of the layers of one kind, as far as a logarithmic axis reaches."""
    positive = {row: layers[row].eigenvalues[layers[row].eigenvalues > 0] for row in rows}
    drawn = [row for row in rows if positive[row].size]
    if not drawn:
        return
    bands = np.array([np.quantile(positive[row], (0, 0.25, 0.5, 0.75, 1)) for row in drawn])
    axes.hlines(drawn, bands[:, 0], bands[:, 4], color=mark[0], linewidth=1.2)
    axes.hlines(drawn, bands[:, 1], bands[:, 3], color=mark[0], linewidth=5, alpha=0.5)
    _draw_marks(axes, bands[:, 2], drawn, mark, label=kind)


def _draw_marks(
    axes: Axes,
    values: Sequence[float] | NDArray[np.float64],
    rows: Sequence[int],
    mark: Mark,
    label: str | None = None,
) -> None:
    colour, marker = mark
    axes.plot(values, rows, marker, color=colour, markersize=4.5, label=label)


def _draw_remarks(axes: Axes, layers: Sequence[LayerSpectrum], theme: Theme) -> None:
    place = axes.get_yaxis_transform()
    for row, layer in enumerate(layers):
        remark = remark_on(layer)
        if remark:
            text = axes.text(0.99, row, remark, transform=place, size=SMALL, color=theme.ink)
            text.set(ha="right", va="center")


def _draw_bounds(axes: Axes, layers: Sequence[LayerSpectrum], theme: Theme) -> None:
    known = [(layer.bound, row) for row, layer in enumerate(layers) if layer.bound is not None]
    if known:
        axes.plot(
            [bound for bound, _ in known],
            [row for _, row in known],
            linestyle="none",
            marker="|",
            markersize=9,
            markeredgewidth=1.6,
            color=theme.ink,
            label="bound of cond(D): 1.5ⁿ for n Newton-Schulz steps",
        )


def _draw_curves(
    part: SubFigure,
    layers: Sequence[LayerSpectrum],
    of: int,
    marks: Mapping[str, Mark],
    theme: Theme,
) -> None:
    part.set_facecolor(theme.paper)
    if not layers:
        return
    which = "each layer" if len(layers) == of else f"the {len(layers)} layers of largest cond(D)"
    part.suptitle(f"Sorted eigenvalues of D, {which}", color=theme.ink, size=TEXT)
    part.supxlabel("share of the eigenvalues", color=theme.ink, size=SMALL)
    rows = math.ceil(len(layers) / _COLUMNS)
    grid = part.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, layer in zip(grid.flat, layers, strict=False):
        matrices = layer.eigenvalues[:: math.ceil(len(layer.eigenvalues) / _MATRICES)]
        share = np.linspace(0, 1, matrices.shape[1])
        colour, marker = marks[layer.kind]
        # A single feature has no curve.
        form = marker if matrices.shape[1] == 1 else "-"
        alpha = 1.0 if len(matrices) == 1 else 0.5
        axes.plot(share, matrices.T, form, color=colour, linewidth=1.3, alpha=alpha)
        axes.set(yscale="log", xticks=[0, 0.5, 1], xticklabels=["0", "½", "1"])
        plain_ticks(axes.yaxis, (v for drawn in layers for v in drawn.eigenvalues.flat))
        axes.set_title(shortened(layer.layer or "(the network)", _TITLE), parse_math=False)
        style(axes, theme, "both")
        axes.title.set_size(SMALL)
    for axes in list(grid.flat)[len(layers) :]:
        axes.set_visible(False)

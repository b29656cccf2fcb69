"""The kernels of D as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.explain.image_kernels import METHODS, ImageKernels
from nd_deploy.explain.kernels import FirstConvolution, profile, shown_channels, shows_all_pairs
from nd_deploy.page.canvas import (
    MARKERS,
    PALETTE,
    SMALL,
    TEXT,
    Theme,
    legend,
    new_figure,
    style,
    to_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# ColorBrewer's, which readers who do not tell red from green see as well.
_COLOURS = "RdBu_r"
_OWN_COLUMNS = 4
# Numbers fit into the taps of kernels up to this size.
_WRITTEN = 3
_PIXELS = 15
# Up to this share of the largest weight, black is read on its colour.
_PALE = 0.45
_WIDTH, _NARROW = 6.0, 4.5

Array = NDArray[np.floating[Any]]


def kernel_chart(first: FirstConvolution, theme: Theme) -> bytes:
    """Draw the kernels of a network's first ND convolution.

    Args:
        first: its D.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    tiles, rows, columns, title = _tiles_of(first)
    down, across = tiles.shape[0] * tiles.shape[2], tiles.shape[1] * tiles.shape[3]
    width = _WIDTH if tiles.shape[1] > 1 else _NARROW
    figure = new_figure(width, min(9.0, 0.8 + (width - 1.6) * down / across), theme)
    axes = figure.subplots()
    largest = float(np.nanmax(np.abs(tiles))) or 1.0
    drawn = _draw_tiles(axes, tiles, largest, rows, columns, theme)
    axes.set_title(
        f"{first.layer or 'the network'}:\n{title}", color=theme.ink, size=TEXT, parse_math=False
    )
    _draw_scale(drawn, [axes], largest, "weight in D", theme)
    return to_png(figure)


def _tiles_of(first: FirstConvolution) -> tuple[Array, list[str], list[str], str]:
    """The kernels as a grid, the names of its rows and columns, and what it shows."""
    channels = shown_channels(first)
    kernels = first.kernels(channels)
    if first.channels == 1:
        return kernels, [], [], "what a whitened pixel is computed with"
    if shows_all_pairs(first):
        names = [f"channel {channel}" for channel in channels]
        return kernels, names, names, "whitened channel (row) from input channel (column)"
    own = kernels[channels, channels]
    empty = np.full((-len(own) % _OWN_COLUMNS, *own.shape[1:]), np.nan)
    tiles = np.concatenate([own, empty]).reshape(-1, _OWN_COLUMNS, *own.shape[1:])
    starts = range(0, len(own), _OWN_COLUMNS)
    rows = [f"{start} to {min(start + _OWN_COLUMNS, len(own)) - 1}" for start in starts]
    title = f"each channel from itself: channels 0 to {channels[-1]} of {first.channels}"
    return tiles, rows, [], title


def image_kernel_chart(found: ImageKernels, theme: Theme) -> bytes:
    """Draw the kernels of D from images: by both methods, of all patches and averaged.

    Args:
        found: the kernels.
        theme: the page's colours.

    Returns:
        A PNG.
    """
    figure = new_figure(8.0, 9.8, theme)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[7.2, 2.6]).flat
    for part in (above, below):
        part.set_facecolor(theme.paper)
    names = [] if found.channels == 1 else ["red", "green", "blue"]
    steps = f"{found.settings.n_iter} Newton-Schulz steps"
    titles = {"newton_schulz": steps, "exact": "exact inverse root"}
    grid = above.subplots(2, 2, squeeze=False)
    for row, method in zip(grid, METHODS, strict=True):
        for axes, kernels, what in zip(
            row,
            (found.pooled[method], found.mean[method]),
            ("all patches together", f"mean over {len(found.images)} images' own"),
            strict=True,
        ):
            drawn = _draw_tiles(axes, kernels, 1.0, names, names, theme)
            axes.set_title(f"{what}\n{titles[method]}", color=theme.ink, size=TEXT)
    for axes in grid[:, 0] if names else ():
        axes.set_ylabel("whitened channel")
    for axes in grid[-1] if names else ():
        axes.set_xlabel("from input channel")
    _draw_scale(drawn, list(grid.flat), 1.0, "weight over the largest one", theme)
    _draw_profiles(below.subplots(), found, titles, theme)
    return to_png(figure)


def _draw_profiles(axes: Axes, found: ImageKernels, titles: dict[str, str], theme: Theme) -> None:
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    distance = np.arange(found.settings.patch // 2 + 1)
    place = 0
    for method in METHODS:
        for what, kernels in (("all patches", found.pooled), ("mean of images", found.mean)):
            own = profile(np.einsum("cchw->chw", kernels[method])).mean(0)
            colour, marker = PALETTE[place], MARKERS[place]
            label = f"{what}, {titles[method]}"
            axes.plot(
                distance, own, color=colour, marker=marker, markersize=4, linewidth=1.3, label=label
            )
            if kernels is found.mean:
                spread = profile(np.einsum("cchw->chw", found.spread[method])).mean(0)
                axes.fill_between(
                    distance, own - spread, own + spread, color=colour, alpha=0.15, linewidth=0
                )
            place += 1
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_xticks(distance)
    axes.set(
        title="A channel's own kernel, mean over rings around its centre",
        xlabel="distance from the centre in pixels; shade: standard deviation over images",
        ylabel="weight over the largest one",
    )
    style(axes, theme, "y")
    legend(axes, theme, loc="upper right")


def _draw_tiles(
    axes: Axes,
    tiles: Array,
    largest: float,
    rows: Sequence[str],
    columns: Sequence[str],
    theme: Theme,
) -> AxesImage:
    """Draw kernels (rows, columns, height, width) side by side, red above 0 and blue below."""
    from matplotlib.colors import FuncNorm

    # Each tap is several pixels, so that the gaps between small kernels are narrow.
    fine = max(1, round(_PIXELS / max(tiles.shape[2:])))
    shown = tiles.repeat(fine, 2).repeat(fine, 3)
    height, width = shown.shape[2:]
    padded = np.pad(shown, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
    mosaic = padded.swapaxes(1, 2).reshape(len(tiles) * (height + 1), -1)[:-1, :-1]
    # Linear colours would leave a surround of a tenth of the centre white.
    norm = FuncNorm((_signed_root, _signed_square), -largest, largest)
    drawn = axes.imshow(mosaic, _COLOURS, norm=norm, interpolation="nearest")
    axes.set_yticks(_centres(len(rows), height), rows)
    axes.set_xticks(_centres(len(columns), width), columns)
    style(axes, theme)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if max(tiles.shape[2:]) <= _WRITTEN:
        _write_weights(axes, tiles, largest, fine)
    return drawn


def _write_weights(axes: Axes, tiles: Array, largest: float, fine: int) -> None:
    decimals = max(0, 2 - math.floor(math.log10(largest)))
    height, width = tiles.shape[2:]
    for (row, column, down, across), weight in np.ndenumerate(tiles):
        if np.isnan(weight):
            continue
        axes.text(
            column * (width * fine + 1) + (across + 0.5) * fine - 0.5,
            row * (height * fine + 1) + (down + 0.5) * fine - 0.5,
            f"{weight:.{decimals}f}",
            ha="center",
            va="center",
            size=SMALL,
            color="white" if abs(weight) > _PALE * largest else "black",
        )


def _draw_scale(
    drawn: AxesImage, beside: list[Axes], largest: float, label: str, theme: Theme
) -> None:
    figure = beside[0].figure
    ticks = [share * largest for share in (-1, -0.3, -0.05, 0, 0.05, 0.3, 1)]
    bar = figure.colorbar(drawn, ax=beside, shrink=0.7, ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:.2g}" for tick in ticks])
    bar.set_label(f"{label} (colours by its square root)", color=theme.ink, size=SMALL)
    bar.ax.tick_params(colors=theme.ink, labelsize=SMALL)
    bar.outline.set_edgecolor(theme.ink)


def _centres(count: int, size: int) -> list[float]:
    return [place * (size + 1) + (size - 1) / 2 for place in range(count)]


def _signed_root(values: Array) -> Array:
    return np.sign(values) * np.sqrt(np.abs(values))


def _signed_square(values: Array) -> Array:
    return np.sign(values) * np.square(values)

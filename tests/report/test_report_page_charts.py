"""The charts, pixel by pixel: what they show is where the numbers say, in the page's colours."""

import io

import made_up_profiles as made_up
import numpy as np
import pytest
from PIL import Image

from nd_deploy.page.canvas import DARK, LIGHT, PALETTE
from nd_deploy.profiling.figures import Ratio
from nd_deploy.profiling.work.usage import RooflinePoint
from nd_deploy.report.page.charts.clocks import clock_chart
from nd_deploy.report.page.charts.forest import forest_chart
from nd_deploy.report.page.charts.latencies import latency_chart, spread_chart
from nd_deploy.report.page.charts.layer_bars import layer_chart
from nd_deploy.report.page.charts.paper import DENSITY, Lanes
from nd_deploy.report.page.charts.roofline import roofline_chart
from nd_deploy.report.page.fared import Panel
from nd_deploy.report.page.roofs import Roof
from nd_deploy.report.page.spread import Spread

SLOWER, BEFORE = PALETTE[1], PALETTE[5]


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def places(png, colour):
    """(rows, columns) of the pixels of nearly this colour; few colours are kept of a picture."""
    return np.nonzero(np.abs(pixels(png) - rgb(colour)).max(axis=2) <= 8)


def ratio(estimate, half_width):
    return Ratio("x", "latency", estimate, estimate - half_width, estimate + half_width, 0.95)


def drawings(theme):
    summaries = [made_up.summary(mean) for mean in (1e-3, 2e-3)]
    names = ("a", "b")
    point = RooflinePoint("1", 4.0, 1e9, 4e9)
    return {
        "forest": forest_chart(names, [ratio(0.5, 0.1), ratio(1.0, 0.1)], theme),
        "latency": latency_chart(names, summaries, theme),
        "spread": spread_chart(names, [Spread.of(s) for s in summaries], (-0.05, 0.05), theme),
        "layers": layer_chart(names, [("conv", (2e-3, 1e-3)), ("fc", (1e-3, None))], theme),
        "roofline": roofline_chart(Roof(1e10, 1e9), [point], [], theme),
        "clocks": clock_chart([Panel("clock", {"GPU": [(0.0, 1.0)]})], [], theme),
    }


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_chart_is_as_wide_as_a_telephone_and_on_the_page_s_own_paper(theme):
    for png in drawings(theme).values():
        image = pixels(png)
        assert round(image.shape[1] / DENSITY) == 358
        for corner in (image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]):
            assert (corner == rgb(theme.paper)).all()
        assert len(places(png, theme.accent)[0]) > 50


def test_a_ratio_is_coloured_by_whether_it_is_faster_slower_or_neither():
    def colours(one):
        png = forest_chart(["row"], [one], LIGHT)
        return [len(places(png, colour)[0]) > 50 for colour in (LIGHT.accent, SLOWER)]

    assert colours(ratio(0.5, 0.1)) == [True, False]
    assert colours(ratio(1.5, 0.1)) == [False, True]
    assert colours(ratio(1.01, 0.1)) == [False, False]


def test_ratios_lie_on_one_axis_and_those_far_apart_on_a_logarithmic_one():
    def middles(*estimates):
        png = forest_chart(list("abc"), [ratio(e, e / 1000) for e in estimates], LIGHT)
        rows, columns = places(png, LIGHT.accent)
        bands = np.array_split(np.unique(rows), np.flatnonzero(np.diff(np.unique(rows)) > 5) + 1)
        return [columns[np.isin(rows, band)].mean() for band in bands]

    first, second, third = middles(0.4, 0.5, 0.6)
    assert third - second == pytest.approx(second - first, abs=2)
    first, second, third = middles(0.01, 0.05, 0.25)
    assert third - second == pytest.approx(second - first, abs=2)


def test_bars_are_as_long_as_their_layers_take():
    png = layer_chart(["naive", "digits"], [("conv", (4e-3, 1e-3))], LIGHT)

    def length(colour):
        rows, columns = places(png, colour)
        # Below the legend, whose marks have the same colours.
        below = rows > pixels(png).shape[0] / 2
        return np.ptp(columns[below])

    assert length(BEFORE) / length(LIGHT.accent) == pytest.approx(4, rel=0.05)


def test_a_row_that_is_alone_has_the_colour_of_what_comes_after():
    png = layer_chart(["digits"], [("conv", (1e-3,))], LIGHT)
    assert len(places(png, LIGHT.accent)[0]) > 50
    assert len(places(png, BEFORE)[0]) == 0


def test_a_name_of_any_length_leaves_the_axes_where_they_are():
    def axis(name):
        dark = pixels(latency_chart([name], [made_up.summary(1e-3)], LIGHT)).max(axis=2) < 100
        return np.ptp(np.nonzero(dark[dark.sum(axis=1).argmax()])[0])

    assert axis("n" * 500) == axis("n")


def test_names_and_numbers_share_a_line_where_they_fit():
    assert Lanes(["naive, ort-cpu"], ["0.71 [0.70, 0.72]"]).lines == 1
    assert Lanes(["naive, ort-cpu", "n" * 50], ["1", "0.71 [0.70, 0.72]"]).lines == 2


def test_the_time_in_which_clocks_are_held_down_is_shaded():
    panel = Panel("clock", {"GPU": [(0.0, 1.0), (10.0, 2.0)]})
    plain, shaded = (pixels(clock_chart([panel], s, LIGHT)) for s in ([], [(5.0, 10.0)]))
    changed = np.abs(plain - shaded).max(axis=2) > 8
    columns = np.nonzero(changed.sum(axis=0) > 20)[0]
    assert columns.min() > 0.45 * plain.shape[1]
    assert np.ptp(columns) == pytest.approx(0.43 * plain.shape[1], rel=0.15)

"""The charts of the latency: ratios, where the latencies lie, and how they spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nd_deploy.page.markup import section
from nd_deploy.page.picture import draw_both
from nd_deploy.profiling.figures import Ratio
from nd_deploy.report.headline import no_difference
from nd_deploy.report.numbers import percent, significant, time_unit
from nd_deploy.report.page.amounts import aligned, symbol
from nd_deploy.report.page.charts.forest import forest_chart
from nd_deploy.report.page.charts.latencies import latency_chart, spread_chart
from nd_deploy.report.page.charts.paper import DENSITY
from nd_deploy.report.page.names import Named, names_by_contestant
from nd_deploy.report.page.pieces import chart, table
from nd_deploy.report.page.spread import Spread, common_reach

_PERCENTS = (0, 1, 5, 25, 50, 75, 95, 99, 100)


def ratio_section(rows: Sequence[Named], level: int, prefix: str) -> str:
    """The ratio plot; "" where nothing was compared."""
    compared = [(named, named.row.ratio) for named in rows if named.row.ratio is not None]
    drawn = [(named, ratio) for named, ratio in compared if _drawable(ratio)]
    if not drawn:
        return ""
    labels, ratios = [named.label for named, _ in drawn], [ratio for _, ratio in drawn]
    picture = draw_both(
        lambda theme: forest_chart(labels, ratios, theme), _ratios_in_words(ratios), DENSITY
    )
    names = names_by_contestant(rows)
    overs = dict.fromkeys(names.get(ratio.over, ratio.over) for ratio in ratios)
    sure = " or ".join(sorted({percent(ratio.confidence) for ratio in ratios}))
    return section(
        "Ratios",
        chart(
            picture,
            f"Time of each row over that of its baseline, which was measured in turns with it: "
            f"{'; '.join(overs)}. The line is the {sure} interval; where it holds 1, no "
            "difference was seen.",
            _ratio_table(compared, names),
        ),
        level=level,
        name=f"{prefix}ratios",
    )


def _drawable(ratio: Ratio) -> bool:
    return all(math.isfinite(end) and end > 0 for end in (ratio.estimate, ratio.low, ratio.high))


def _ratios_in_words(ratios: Sequence[Ratio]) -> str:
    same = sum(map(no_difference, ratios))
    faster = sum(ratio.high < 1 for ratio in ratios)
    least, most = (pick(ratio.estimate for ratio in ratios) for pick in (min, max))
    return (
        f"Ratio plot of {len(ratios)} rows, from {least:.2f} to {most:.2f}: {faster} faster than "
        f"the baseline, {len(ratios) - faster - same} slower, {same} without a difference."
    )


def _ratio_table(compared: Sequence[tuple[Named, Ratio]], names: Mapping[str, str]) -> str:
    return table(
        "Ratio of the latencies, with its interval",
        ("row", ">ratio", ">from", ">to", "over"),
        [
            (
                named.label,
                *(f"{value:.4f}" for value in (ratio.estimate, ratio.low, ratio.high)),
                names.get(ratio.over, ratio.over),
            )
            for named, ratio in compared
        ],
    )


def distribution_section(rows: Sequence[Named], level: int, prefix: str) -> str:
    """Where the latencies lie and how they spread; "" where no latency can be drawn."""
    drawn = [
        named
        for named in rows
        if named.row.latency.p50 > 0 and all(map(math.isfinite, named.row.latency.quantiles))
    ]
    if not drawn:
        return ""
    return section(
        "Distributions",
        _latencies(drawn),
        _spreads(drawn),
        level=level,
        name=f"{prefix}distributions",
    )


def _latencies(rows: Sequence[Named]) -> str:
    labels, summaries = [named.label for named in rows], [named.row.latency for named in rows]
    unit = time_unit(summary.p50 for summary in summaries)
    fastest = min(rows, key=lambda named: named.row.latency.p50)
    picture = draw_both(
        lambda theme: latency_chart(labels, summaries, theme),
        f"Latency of {len(rows)} rows. The shortest median is that of {fastest.label}, "
        f"{significant(fastest.row.latency.p50 / unit.size)} {symbol(unit)}.",
        DENSITY,
    )
    columns = [[summary.quantiles[p] / unit.size for summary in summaries] for p in _PERCENTS]
    return chart(
        picture,
        "Latency. Point: median, which is the number too; bar: middle half; line: all but the "
        "fastest and the slowest percent.",
        table(
            f"Percentiles of the latency, in {symbol(unit)}",
            ("row", ">iterations", *(f">{p} %" for p in _PERCENTS)),
            zip(labels, (str(s.n) for s in summaries), *map(aligned, columns), strict=True),
        ),
    )


def _spreads(rows: Sequence[Named]) -> str:
    labels = [named.label for named in rows]
    spreads = [Spread.of(named.row.latency) for named in rows]
    reach = common_reach(spreads)
    widest = max(zip(labels, spreads, strict=True), key=lambda pair: pair[1].tail)
    picture = draw_both(
        lambda theme: spread_chart(labels, spreads, reach, theme),
        f"How the latencies of {len(rows)} rows spread around their medians. The longest tail is "
        f"that of {widest[0]}: its 99th percentile is {percent(widest[1].tail)} over the median.",
        DENSITY,
    )
    return chart(
        picture,
        "How the latencies of each row spread around their median. Two hills are two speeds, such "
        "as those of two clocks; a long tail to the right is interruptions.",
        table(
            "Percentiles over the median, in percent",
            ("row", *(f">{p} %" for p in _PERCENTS)),
            [
                (label, *(f"{100 * spread.shares[p]:+.2f}" for p in _PERCENTS))
                for label, spread in zip(labels, spreads, strict=True)
            ],
        ),
    )

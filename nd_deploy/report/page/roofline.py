"""How much of the machine the rows make use of."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.page.markup import section
from nd_deploy.page.picture import draw_both
from nd_deploy.report.numbers import percent, significant
from nd_deploy.report.page.amounts import scaled
from nd_deploy.report.page.charts.paper import DENSITY
from nd_deploy.report.page.charts.roofline import roofline_chart
from nd_deploy.report.page.names import Named
from nd_deploy.report.page.pieces import chart, table
from nd_deploy.report.page.roofs import RowPoint, UnderRoof, under_roofs


def roofline_section(rows: Sequence[Named], level: int, prefix: str) -> str:
    """The rows under the roof of the machine's measured peaks; "" where none is known."""
    parts = [_part(group) for group in under_roofs(rows)]
    return section("Roofline", *parts, level=level, name=f"{prefix}roofline") if parts else ""


def _part(group: UnderRoof) -> str:
    roof = group.roof
    peaks = f"{scaled(roof.flops_per_s, 'FLOP/s')} and {scaled(roof.bytes_per_s, 'B/s')}"
    points = [row.point for row in group.rows]
    best = max(group.rows, key=_reached)
    picture = draw_both(
        lambda theme: roofline_chart(roof, points, group.layers, theme),
        f"Roofline of {len(points)} rows. Closest to the roof is {best.named.label}, at "
        f"{percent(_reached(best))} of what the peaks allow.",
        DENSITY,
    )
    layers = " The small points are the layers of these rows." if group.layers else ""
    return chart(
        picture,
        f"The line is what the machine can do at most: {peaks}, measured with a matrix product "
        "and a copy. Under its slope memory limits, under its level part arithmetic does. A number "
        f"is that of the row.{layers} Over the line is what caches hold, which the copy does not "
        "use.",
        table(
            "What each row computes and moves, and the share of the peaks that it reaches at its "
            "median",
            (
                "row",
                ">FLOP",
                ">bytes",
                ">FLOP/byte",
                ">FLOP/s",
                ">of arithmetic",
                ">of copy",
                ">of roof",
            ),
            [_line(row) for row in group.rows],
        ),
    )


def _reached(row: RowPoint) -> float:
    return row.point.flops_per_s / row.point.attainable


def _line(row: RowPoint) -> tuple[str, ...]:
    usage, point = row.usage, row.point
    shares = (usage.of_gemm, usage.of_copy, usage.of_roofline)
    return (
        row.named.label,
        scaled(usage.flops, ""),
        scaled(usage.bytes, ""),
        significant(point.intensity),
        scaled(point.flops_per_s, ""),
        *("" if share is None else percent(share) for share in shares),
    )

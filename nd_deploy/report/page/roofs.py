"""Rows and layers as points under the roof of what a machine can do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nd_deploy.profiling.figures import Usage
from nd_deploy.profiling.remarks import headline_metric
from nd_deploy.profiling.work.usage import RooflinePoint, attainable, roofline_points
from nd_deploy.report.page.names import Named


@dataclass(frozen=True)
class Roof:
    """What a machine was measured to do at most.

    Attributes:
        flops_per_s: floating point operations a second, of a matrix product.
        bytes_per_s: moved a second, by a copy.
    """

    flops_per_s: float
    bytes_per_s: float

    @property
    def ridge(self) -> float:
        """The operations per byte from which on the arithmetic is what limits."""
        return self.flops_per_s / self.bytes_per_s


@dataclass(frozen=True)
class RowPoint:
    """A row under a roof.

    Attributes:
        named: the row.
        usage: what it does; the peaks in it are the roof's.
        point: where it stands, under the row's number as its name.
    """

    named: Named
    usage: Usage
    point: RooflinePoint


@dataclass(frozen=True)
class UnderRoof:
    """The rows that were measured against the same peaks.

    Attributes:
        roof: the peaks.
        rows: at least one.
        layers: of these rows.
    """

    roof: Roof
    rows: Sequence[RowPoint]
    layers: Sequence[RooflinePoint]


def under_roofs(rows: Iterable[Named]) -> list[UnderRoof]:
    """Sort the rows whose work and peaks are known by the peaks."""
    groups: dict[Roof, list[RowPoint]] = {}
    for named in rows:
        usage = named.row.usage
        if usage is not None and usage.gemm_flops_per_s and usage.copy_bytes_per_s:
            roof = Roof(usage.gemm_flops_per_s, usage.copy_bytes_per_s)
            point = _point(named, usage, roof)
            if point is not None:
                groups.setdefault(roof, []).append(RowPoint(named, usage, point))
    return [UnderRoof(roof, found, _layers_of(found, roof)) for roof, found in groups.items()]


def _point(named: Named, usage: Usage, roof: Roof) -> RooflinePoint | None:
    """None for what a logarithmic axis has no place for, such as a row that computes nothing."""
    seconds = named.row.metrics[headline_metric(named.row)].summary.p50
    if not all(0 < value < math.inf for value in (usage.flops, usage.bytes, seconds)):
        return None
    intensity = usage.flops / usage.bytes
    most = attainable(intensity, roof.flops_per_s, roof.bytes_per_s)
    return RooflinePoint(str(named.number), intensity, usage.flops / seconds, most)


def _layers_of(rows: Iterable[RowPoint], roof: Roof) -> list[RooflinePoint]:
    return [
        point
        for row in rows
        for point in roofline_points(row.named.row.layers, roof.flops_per_s, roof.bytes_per_s)
    ]

"""How much of what a machine can do a network makes use of: the roofline model.

A layer takes at least as long as its operations at the peak of the arithmetic, and at least as long
as its bytes at the peak of the memory (S. Williams, A. Waterman and D. Patterson, "Roofline: an
insightful visual performance model for multicore architectures", Communications of the ACM 52(4),
2009).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nd_deploy.profiling.figures import LayerTime, Usage

if TYPE_CHECKING:
    from nd_deploy.profiling.work.peaks import Peaks
    from nd_deploy.profiling.work.record import NetworkWork


@dataclass(frozen=True)
class RooflinePoint:
    """A layer in a roofline chart.

    Attributes:
        name: of the layer.
        intensity: its operations for each byte that it moves.
        flops_per_s: what it reached.
        attainable: the most that the peaks allow at this intensity, operations a second.
    """

    name: str
    intensity: float
    flops_per_s: float
    attainable: float


def usage_of(work: NetworkWork, peaks: Peaks | None, seconds: float) -> Usage:
    """What a run has to do, and how much of the machine that makes use of.

    Shares may be over 1. The peak of the copy is that of memory, and what fits into the caches does
    not go there; and a runtime may compute a convolution with fewer multiplications than are
    counted, as Winograd's algorithm does.

    Args:
        work: of a run.
        peaks: of the machine; None if they were not measured.
        seconds: that a run takes.

    Returns:
        Without shares where there are no peaks, or where some of the network's nodes could not be
        counted.
    """
    if peaks is None or work.unknown:
        return Usage(work.flops, work.bytes)
    gemm, copy = peaks.gemm_flops_per_s, peaks.copy_bytes_per_s
    least = sum(roofline_seconds(layer.flops, layer.bytes, gemm, copy) for layer in work.layers)
    return Usage(
        work.flops,
        work.bytes,
        gemm,
        copy,
        of_gemm=work.flops / gemm / seconds,
        of_copy=work.bytes / copy / seconds,
        of_roofline=least / seconds,
    )


def roofline_seconds(
    flops: float, size: float, gemm_flops_per_s: float, copy_bytes_per_s: float
) -> float:
    """The least time in which so many operations are done and so many bytes moved."""
    return max(flops / gemm_flops_per_s, size / copy_bytes_per_s)


def attainable(intensity: float, gemm_flops_per_s: float, copy_bytes_per_s: float) -> float:
    """The roofline: the most operations a second at so many operations for each byte."""
    return min(gemm_flops_per_s, intensity * copy_bytes_per_s)


def roofline_points(
    layers: Iterable[LayerTime], gemm_flops_per_s: float, copy_bytes_per_s: float
) -> tuple[RooflinePoint, ...]:
    """Where layers stand in a roofline chart.

    Args:
        layers: with their times; those that compute nothing, or of which that is not known, have no
            place in it.
        gemm_flops_per_s: the peak of the arithmetic.
        copy_bytes_per_s: the peak of the memory.
    """
    return tuple(
        RooflinePoint(
            layer.name,
            layer.flops / layer.bytes,
            layer.flops / layer.seconds,
            attainable(layer.flops / layer.bytes, gemm_flops_per_s, copy_bytes_per_s),
        )
        for layer in layers
        if layer.flops and layer.bytes and layer.seconds > 0
    )

"""Single figures of a measurement: distributions, ratios, layers, and what there is to warn of.

Times are seconds, sizes bytes, shares fractions of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nd_deploy.bundle.fields import number, optional, optional_number, required

LATENCY, COMPUTE, ENQUEUE, UPLOAD, DOWNLOAD = "latency", "compute", "enqueue", "h2d", "d2h"
METRICS = (LATENCY, COMPUTE, ENQUEUE, UPLOAD, DOWNLOAD)
"""latency: by the host's clock, from the call to its end, with inputs and outputs where the runtime
has them. On a GPU also compute: between events of the GPU; enqueue: the host's share, until the
call returns; h2d and d2h: the copies of all inputs to the GPU and of all outputs back."""


@dataclass(frozen=True)
class Summary:
    """The distribution of one metric over all counted iterations.

    Attributes:
        n: how many iterations.
        mean, std, min, max, p50, p90, p95, p99: seconds.
        cv: the coefficient of variation, std / mean.
        quantiles: the 0th, 1st, ... 100th percentile, in seconds.
    """

    n: int
    mean: float
    std: float
    cv: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    quantiles: tuple[float, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Summary:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        names = ("mean", "std", "cv", "min", "p50", "p90", "p95", "p99", "max")
        return cls(
            n=required(fields, "n", int),
            quantiles=tuple(map(float, required(fields, "quantiles", list))),
            **{name: number(fields, name) for name in names},
        )


@dataclass(frozen=True)
class Measured:
    """One metric of a row.

    Attributes:
        summary: over all iterations.
        rounds: the median of each turn, in seconds: for every opening of the model, its rounds.
    """

    summary: Summary
    rounds: tuple[tuple[float, ...], ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Measured:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        rounds = required(fields, "rounds", list)
        return cls(
            Summary.from_dict(required(fields, "summary", dict)),
            tuple(tuple(map(float, opening)) for opening in rounds),
        )


@dataclass(frozen=True)
class Ratio:
    """A row's time over the baseline's, round by round.

    Attributes:
        over: the baseline's name, `str` of its contestant.
        metric: what of both.
        estimate: the ratio.
        low, high: the interval.
        confidence: of the interval, such as 0.95.
    """

    over: str
    metric: str
    estimate: float
    low: float
    high: float
    confidence: float

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Ratio:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        return cls(
            required(fields, "over", str),
            required(fields, "metric", str),
            *(number(fields, name) for name in ("estimate", "low", "high", "confidence")),
        )


@dataclass(frozen=True)
class Remark:
    """A warning about a row or a whole measurement.

    Attributes:
        kind: a word for it, which all remarks of its sort share, such as "noisy".
        problem: what was seen, with its number and the threshold.
        remedy: what to do next.
    """

    kind: str
    problem: str
    remedy: str

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Remark:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        return cls(*(required(fields, name, str) for name in ("kind", "problem", "remedy")))


@dataclass(frozen=True)
class Usage:
    """What one run has to do, and how much of the machine that makes use of.

    Attributes:
        flops: floating point operations, two for each multiplication and addition.
        bytes: moved to and from memory, with elementwise operations fused into what precedes them.
        gemm_flops_per_s: the machine's measured peak, of a matrix product in the row's precision.
        copy_bytes_per_s: the machine's measured peak of a copy, reading and writing counted.
        of_gemm: the share of the one that the row reaches at its median.
        of_copy: the share of the other.
        of_roofline: the least time that the layers would take at these peaks, over the median.
    """

    flops: float
    bytes: float
    gemm_flops_per_s: float | None = None
    copy_bytes_per_s: float | None = None
    of_gemm: float | None = None
    of_copy: float | None = None
    of_roofline: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Usage:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        peaks = ("gemm_flops_per_s", "copy_bytes_per_s", "of_gemm", "of_copy", "of_roofline")
        return cls(
            number(fields, "flops"),
            number(fields, "bytes"),
            *(optional_number(fields, name) for name in peaks),
        )


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer in a run that measured each of them, which slows the whole down.

    Attributes:
        name: of the layer, or of the runtime's node where it belongs to none.
        op: what runs there, such as "Conv" or "Conv + Relu".
        seconds: the median of a run.
        nd_layer: the ND layer of the network that it computes or stands for, or None.
        flops: of one run; None where they are not known.
        bytes: moved in one run; None where they are not known.
    """

    name: str
    op: str
    seconds: float
    nd_layer: str | None = None
    flops: float | None = None
    bytes: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LayerTime:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        return cls(
            required(fields, "name", str),
            required(fields, "op", str),
            number(fields, "seconds"),
            optional(fields, "nd_layer", str),
            optional_number(fields, "flops"),
            optional_number(fields, "bytes"),
        )

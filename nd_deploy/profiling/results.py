"""What a measurement gives: one record, which every exporter reads and JSON holds whole.

Times are seconds, sizes bytes, shares fractions of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nd_deploy.bundle.fields import flag, number, optional, optional_number, required
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.environment.record import Environment
from nd_deploy.profiling.figures import (
    LATENCY,
    LayerTime,
    Measured,
    Ratio,
    Remark,
    Summary,
    Usage,
)

KIND = "nd-deploy profile"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """What was measured of one contestant.

    Attributes:
        contestant: what was measured.
        metrics: by name, of METRICS; latency is always there.
        throughput: inputs a second, from the mean latency.
        ratio: over the baseline; None for the baseline itself.
        compute_ratio: the same of the GPU's own time, where both have it.
        error: max|y - truth| / max|truth| of its outputs against PyTorch in float64; None where
            there is no truth.
        receipt: what it ran with, as the fields of `nd_deploy.runtime.base.Receipt`.
        memory: bytes by what they are for, such as "host" and "device".
        setup: seconds by step, such as "open" and "first run", of the first opening.
        usage: what of the machine it makes use of; None where that was not asked for.
        layers: times of single layers; empty where they were not asked for.
        remarks: warnings.
    """

    contestant: Contestant
    metrics: Mapping[str, Measured]
    throughput: float
    ratio: Ratio | None = None
    compute_ratio: Ratio | None = None
    error: float | None = None
    receipt: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    setup: Mapping[str, float] = field(default_factory=dict)
    usage: Usage | None = None
    layers: tuple[LayerTime, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def latency(self) -> Summary:
        """Of the latency."""
        return self.metrics[LATENCY].summary

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Row:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        metrics = required(fields, "metrics", dict)
        if LATENCY not in metrics:
            raise ValueError(f"metrics lack {LATENCY}")
        ratio, compute_ratio = (optional(fields, n, dict) for n in ("ratio", "compute_ratio"))
        usage = optional(fields, "usage", dict)
        return cls(
            contestant=Contestant.from_dict(required(fields, "contestant", dict)),
            metrics={name: Measured.from_dict(metric) for name, metric in metrics.items()},
            throughput=number(fields, "throughput"),
            ratio=None if ratio is None else Ratio.from_dict(ratio),
            compute_ratio=None if compute_ratio is None else Ratio.from_dict(compute_ratio),
            error=optional_number(fields, "error"),
            receipt=required(fields, "receipt", dict),
            memory={n: int(v) for n, v in required(fields, "memory", dict).items()},
            setup={n: float(v) for n, v in required(fields, "setup", dict).items()},
            usage=None if usage is None else Usage.from_dict(usage),
            layers=tuple(map(LayerTime.from_dict, required(fields, "layers", list))),
            remarks=tuple(map(Remark.from_dict, required(fields, "remarks", list))),
        )


@dataclass(frozen=True)
class ModelRecord:
    """A model that took part.

    Attributes:
        name: in this measurement.
        kind: "bundle", "naive" for torch.onnx.export of the trained network, "onnx" for a file of
            the user's, "trtexec" for what another tool measured.
        path: as it was given; None for what was made for the measurement.
        sha256: of its ONNX file; None where there is none.
        nd_layers: how many ND layers its network had, where known.
    """

    name: str
    kind: str
    path: str | None = None
    sha256: str | None = None
    nd_layers: int | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelRecord:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        return cls(
            required(fields, "name", str),
            required(fields, "kind", str),
            optional(fields, "path", str),
            optional(fields, "sha256", str),
            optional(fields, "nd_layers", int),
        )


@dataclass(frozen=True)
class Method:
    """How it was measured.

    Attributes:
        openings: how many times every model was opened anew, since where a process happens to put
            things changes its speed.
        rounds: how many turns each contestant had in an opening.
        turn_seconds: about how long one turn lasts.
        turn_iterations: the least iterations of a turn.
        warmup_seconds: the least time of uncounted runs after an opening.
        warmup_iterations: the least number of them.
        processes: "one" for all contestants in one process, "each" for one each that take turns.
        clock: what took the host's time.
    """

    openings: int = 5
    rounds: int = 8
    turn_seconds: float = 0.1
    turn_iterations: int = 3
    warmup_seconds: float = 0.2
    warmup_iterations: int = 10
    processes: str = "one"
    clock: str = "time.perf_counter_ns"

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Method:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        return cls(
            openings=required(fields, "openings", int),
            rounds=required(fields, "rounds", int),
            turn_seconds=number(fields, "turn_seconds"),
            turn_iterations=required(fields, "turn_iterations", int),
            warmup_seconds=number(fields, "warmup_seconds"),
            warmup_iterations=required(fields, "warmup_iterations", int),
            processes=required(fields, "processes", str),
            clock=required(fields, "clock", str),
        )


@dataclass(frozen=True)
class Profile:
    """A measurement.

    Attributes:
        rows: one a contestant; those of one batch were measured in turns with each other.
        models: that took part.
        method: how it was measured.
        environment: on what.
        created: when, in UTC, as ISO 8601.
        command: the command line, if there was one.
        interrupted: whether it was ended before all rounds were done.
        remarks: warnings about the whole.
    """

    rows: tuple[Row, ...]
    models: tuple[ModelRecord, ...]
    method: Method
    environment: Environment
    created: str
    command: str | None = None
    interrupted: bool = False
    remarks: tuple[Remark, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The measurement as JSON-ready fields, which profile.schema.json describes."""
        return {"kind": KIND, "schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Profile:
        """The inverse of `as_dict`.

        Raises:
            ValueError: it is no measurement, of a newer schema, or a field is not what it has to
                be.
        """
        if fields.get("kind") != KIND:
            raise ValueError("it holds no measurement of nd-deploy")
        if required(fields, "schema_version", int) > SCHEMA_VERSION:
            raise ValueError("a newer nd-deploy wrote it")
        return cls(
            rows=tuple(map(Row.from_dict, required(fields, "rows", list))),
            models=tuple(map(ModelRecord.from_dict, required(fields, "models", list))),
            method=Method.from_dict(required(fields, "method", dict)),
            environment=Environment.from_dict(required(fields, "environment", dict)),
            created=required(fields, "created", str),
            command=optional(fields, "command", str),
            interrupted=flag(fields, "interrupted"),
            remarks=tuple(map(Remark.from_dict, required(fields, "remarks", list))),
        )

"""What a measurement was made on, as facts; what was not to be found out is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nd_deploy.bundle.fields import number, optional, optional_number, required


@dataclass(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        model: its name.
        logical: how many logical processors are online.
        affinity: those that the process may run on.
        quota: how many processors' time a control group allows; None if it sets no limit.
        governor: of the clock, such as "performance"; several are joined by "+".
        turbo: whether the clock may go over its base.
        mhz: the mean clock before the run.
        load: the load average of the last minute, before the run.
        busy: the share of all processors' time that others took just before the run.
    """

    model: str
    logical: int
    affinity: tuple[int, ...]
    quota: float | None = None
    governor: str | None = None
    turbo: bool | None = None
    mhz: float | None = None
    load: float | None = None
    busy: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Cpu:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        turbo = fields.get("turbo")
        if turbo is not None and not isinstance(turbo, bool):
            raise ValueError(f"turbo is {turbo!r}, and not true, false or null")
        affinity = required(fields, "affinity", list)
        if not all(isinstance(processor, int) for processor in affinity):
            raise ValueError(f"affinity is {affinity}, and not numbers of processors")
        return cls(
            model=required(fields, "model", str),
            logical=required(fields, "logical", int),
            affinity=tuple(affinity),
            quota=optional_number(fields, "quota"),
            governor=optional(fields, "governor", str),
            turbo=turbo,
            mhz=optional_number(fields, "mhz"),
            load=optional_number(fields, "load"),
            busy=optional_number(fields, "busy"),
        )


@dataclass(frozen=True)
class Gpu:
    """The GPU, before the run.

    Attributes:
        name: such as "NVIDIA H200".
        index: the number that NVML has for it; None without NVML.
        compute_capability: such as "9.0".
        driver: its version.
        cuda: the newest CUDA version that the driver takes.
        memory_bytes: in all.
        l2_bytes: of its second-level cache.
        persistence: "on" or "off".
        power_limit_w: watts.
        max_sm_mhz: the highest clock of its processors.
        max_memory_mhz: the highest clock of its memory.
        locked_clocks: "on" or "off", whether the clocks are pinned; NVML does not tell.
        utilisation: percent of the time that it was busy just before the run.
        other_processes: how many other processes computed on it.
    """

    name: str
    index: int | None = None
    compute_capability: str | None = None
    driver: str | None = None
    cuda: str | None = None
    memory_bytes: int | None = None
    l2_bytes: int | None = None
    persistence: str | None = None
    power_limit_w: float | None = None
    max_sm_mhz: float | None = None
    max_memory_mhz: float | None = None
    locked_clocks: str | None = None
    utilisation: float | None = None
    other_processes: int | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Gpu:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        texts = ("compute_capability", "driver", "cuda", "persistence", "locked_clocks")
        wholes = ("index", "memory_bytes", "l2_bytes", "other_processes")
        numbers = ("power_limit_w", "max_sm_mhz", "max_memory_mhz", "utilisation")
        others: dict[str, Any] = {name: optional(fields, name, str) for name in texts}
        others |= {name: optional(fields, name, int) for name in wholes}
        others |= {name: optional_number(fields, name) for name in numbers}
        return cls(required(fields, "name", str), **others)


@dataclass(frozen=True)
class Jetson:
    """A Jetson board.

    Attributes:
        model: of the board.
        release: of Jetson Linux, such as "36.4.3".
        power_mode: of nvpmodel, with its number, such as "MAXN (0)".
        clocks: "locked" if jetson_clocks is in force, "free" if not.
    """

    model: str | None = None
    release: str | None = None
    power_mode: str | None = None
    clocks: str | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Jetson:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        names = ("model", "release", "power_mode", "clocks")
        return cls(*(optional(fields, name, str) for name in names))


@dataclass(frozen=True)
class Sample:
    """The state of the device at the end of a turn.

    Attributes:
        seconds: since the measurement began.
        row: whose turn it was, by name.
        sm_mhz: the clock of the GPU's processors.
        memory_mhz: the clock of its memory.
        temperature_c: in degrees Celsius.
        power_w: watts.
        throttle: why its clocks are held down, in NVML's words, such as "sw_thermal_slowdown"; that
            somebody set them lower is not among it.
        rails: watts by power rail, on a Jetson.
        cpu_mhz: the mean clock of the processor.
    """

    seconds: float
    row: str
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()
    rails: Mapping[str, float] = field(default_factory=dict)
    cpu_mhz: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Sample:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        names = ("sm_mhz", "memory_mhz", "temperature_c", "power_w", "cpu_mhz")
        numbers: dict[str, Any] = {name: optional_number(fields, name) for name in names}
        rails = required(fields, "rails", dict)
        return cls(
            seconds=number(fields, "seconds"),
            row=required(fields, "row", str),
            throttle=tuple(map(str, required(fields, "throttle", list))),
            rails={name: number(rails, name) for name in rails},
            **numbers,
        )


@dataclass(frozen=True)
class Environment:
    """A machine and what is installed on it.

    Attributes:
        machine: such as "x86_64".
        system: the operating system.
        python: its version.
        versions: of the packages at work, by distribution.
        cpu: the processor.
        gpu: the GPU; None without one, or where none took part.
        jetson: the board; None elsewhere.
        samples: the device's state during the run, in order of time.
    """

    machine: str
    system: str
    python: str
    cpu: Cpu
    versions: Mapping[str, str] = field(default_factory=dict)
    gpu: Gpu | None = None
    jetson: Jetson | None = None
    samples: tuple[Sample, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Environment:
        """The inverse of `dataclasses.asdict`; raises ValueError."""
        gpu, jetson = optional(fields, "gpu", dict), optional(fields, "jetson", dict)
        return cls(
            machine=required(fields, "machine", str),
            system=required(fields, "system", str),
            python=required(fields, "python", str),
            cpu=Cpu.from_dict(required(fields, "cpu", dict)),
            versions={str(n): str(v) for n, v in required(fields, "versions", dict).items()},
            gpu=None if gpu is None else Gpu.from_dict(gpu),
            jetson=None if jetson is None else Jetson.from_dict(jetson),
            samples=tuple(map(Sample.from_dict, required(fields, "samples", list))),
        )

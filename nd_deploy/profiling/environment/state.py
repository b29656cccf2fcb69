"""The state of a device at one moment, put together from whatever tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)


@dataclass(frozen=True)
class State:
    """What `nd_deploy.profiling.environment.record.Sample` holds of the device, by the same names.

    Attributes:
        sm_mhz: the clock of the GPU's processors.
        memory_mhz: the clock of its memory.
        temperature_c: in degrees Celsius.
        power_w: watts.
        throttle: why its clocks are held down.
        rails: watts by power rail.
        cpu_mhz: the mean clock of the processor.
    """

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()
    rails: Mapping[str, float] = field(default_factory=dict)
    cpu_mhz: float | None = None


@dataclass(frozen=True)
class NotSampled:
    """That something of a device's state stays unknown.

    Attributes:
        problem: what, and why.
        remedy: what to do about it.
    """

    problem: str
    remedy: str


class Source(Protocol):
    """Something that tells a part of the state."""

    def read(self) -> State:
        """The state now, as far as it is told; never raises."""
        ...

    def close(self) -> None:
        """Give back what it holds; it is not read again."""
        ...


def filled(first: D, second: D) -> D:
    """A record with its gaps filled from another one of its kind.

    Args:
        first: what it says stands.
        second: asked where `first` says nothing: None, no items.
    """
    gaps = [f.name for f in fields(first) if getattr(first, f.name) in (None, (), {})]
    return replace(first, **{name: getattr(second, name) for name in gaps})

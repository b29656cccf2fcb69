"""What was sampled of a device during a measurement, as lines over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nd_deploy.profiling.environment.record import Sample

Span: TypeAlias = tuple[float, float]
"""From one second to another."""

Points: TypeAlias = "list[tuple[float, float]]"


@dataclass(frozen=True)
class Panel:
    """Lines that share an axis.

    Attributes:
        title: with the unit.
        lines: by name, (second, value) in the order of time; at least one.
    """

    title: str
    lines: Mapping[str, Points]

    def span(self) -> tuple[float, float]:
        """The least and the most of all lines."""
        values = [value for points in self.lines.values() for _, value in points]
        return min(values), max(values)


def panels_of(samples: Sequence[Sample]) -> list[Panel]:
    """What there is to draw of some samples; what none of them holds is left out."""
    rails = dict.fromkeys(rail for sample in samples for rail in sample.rails)
    wanted = {
        "clock of the GPU, MHz": {"GPU": _points(samples, lambda sample: sample.sm_mhz)},
        "clock of the processor, MHz": {
            "processor": _points(samples, lambda sample: sample.cpu_mhz)
        },
        "temperature, °C": {"GPU": _points(samples, lambda sample: sample.temperature_c)},
        "power, W": {
            "in all": _points(samples, lambda sample: sample.power_w),
            **{rail: _points(samples, _of_rail(rail)) for rail in rails},
        },
    }
    lines = {
        title: {name: points for name, points in each.items() if points}
        for title, each in wanted.items()
    }
    return [Panel(title, each) for title, each in lines.items() if each]


def throttled_spans(samples: Sequence[Sample]) -> list[Span]:
    """From and to which second the clocks were held down, as far as samples tell."""
    spans: list[Span] = []
    before = 0.0
    for sample in samples:
        if sample.throttle:
            follows = bool(spans) and spans[-1][1] == before
            begin = spans.pop()[0] if follows else before
            spans.append((begin, sample.seconds))
        before = sample.seconds
    return spans


def throttle_reasons(samples: Sequence[Sample]) -> dict[str, int]:
    """Why the clocks were held down, and in how many samples."""
    reasons: dict[str, int] = {}
    for sample in samples:
        for reason in sample.throttle:
            reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


def _points(samples: Sequence[Sample], read: Callable[[Sample], float | None]) -> Points:
    found = ((sample.seconds, read(sample)) for sample in samples)
    return [(seconds, value) for seconds, value in found if value is not None]


def _of_rail(rail: str) -> Callable[[Sample], float | None]:
    return lambda sample: sample.rails.get(rail)

"""The result of the parity gates, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Gate:
    """One comparison with its own budget, so that a failure names its owner.

    Errors are max|y - truth| / max|truth|, the worst over the outputs; truth is PyTorch's float64
    forward of the trained network.

    Attributes:
        name: "fold", "storage" or "backend".
        compares: what was compared with what, in words.
        error: the error that was measured.
        budget: the largest error that passes.
        budget_reason: where the budget comes from.
        recorded: True where the error was measured at conversion and not again now.
        details: what it ran on: runtime, version, providers, options, TF32.
    """

    name: str
    compares: str
    error: float
    budget: float
    budget_reason: str
    recorded: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the error is within the budget; NaN is not."""
        return self.error <= self.budget


@dataclass(frozen=True)
class ParityReport:
    """All gates of one model, and how its predictions agree.

    Attributes:
        gates: in the order fold, storage, backend.
        top1_agreement: share of the reference inputs whose largest logit is PyTorch's, or None
            where the output is no vector of logits.
        samples: how many reference inputs there are.
    """

    gates: Sequence[Gate]
    top1_agreement: float | None
    samples: int

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        return {
            "passed": self.passed,
            "top1_agreement": self.top1_agreement,
            "samples": self.samples,
            "gates": [asdict(gate) | {"passed": gate.passed} for gate in self.gates],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ParityReport:
        """The inverse of `as_dict`."""
        gates = [Gate(**{k: v for k, v in g.items() if k != "passed"}) for g in fields["gates"]]
        return cls(gates, fields["top1_agreement"], fields["samples"])

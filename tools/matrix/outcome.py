"""What was measured of one network, and how it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.profiling.results import Method, Profile

TWIN, FOLDED, NAIVE = "twin.onnx", "folded", "naive.onnx"
"""The models of a network, as a measurement calls them after their files."""
TWIN_BUNDLE = "twin"
"""The twin where PyTorch runs it."""


@dataclass(frozen=True)
class Settings:
    """What to measure of every network.

    Attributes:
        runtimes: of `nd_deploy.profiling.plan.MEASURABLE`.
        batches: how many inputs a run takes.
        threads: of one operator, on the processor.
        method: how often and for how long.
    """

    runtimes: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int
    method: Method

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready fields."""
        return {**asdict(self), "runtimes": [*self.runtimes], "batches": [*self.batches]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Settings:
        """The inverse of `as_dict`."""
        return cls(
            tuple(fields["runtimes"]),
            tuple(fields["batches"]),
            fields["threads"],
            Method.from_dict(fields["method"]),
        )


@dataclass(frozen=True)
class FileCost:
    """What a model costs before it has computed anything.

    Attributes:
        model: TWIN, FOLDED or NAIVE.
        size: bytes on disk, weights in a file of their own included.
        load_seconds: the quickest of a few creations of a session, each in a fresh process.
        peak_bytes: by how much that and one run raised the process's resident memory at most.
    """

    model: str
    size: int
    load_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What became of one network.

    Attributes:
        network: its name.
        settings: what was asked for.
        profiles: of ONNX models, and of PyTorch where that takes part.
        files: in ONNX Runtime on the processor.
        notes: what could not be done.
        error: why there is nothing else, if so.
    """

    network: str
    settings: Settings
    profiles: tuple[Profile, ...] = ()
    files: tuple[FileCost, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The outcome as fields that `nd_deploy.bundle.strict_json` writes."""
        return {
            **asdict(self),
            "settings": self.settings.as_dict(),
            "profiles": [profile.as_dict() for profile in self.profiles],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Outcome:
        """The inverse of `as_dict`."""
        return cls(
            fields["network"],
            Settings.from_dict(fields["settings"]),
            tuple(map(Profile.from_dict, fields["profiles"])),
            tuple(FileCost(**cost) for cost in fields["files"]),
            tuple(fields["notes"]),
            fields["error"],
        )

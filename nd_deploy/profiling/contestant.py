"""What takes part in a measurement: one model, in one runtime, at one batch, run in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nd_deploy.runtime.options import ENGINE_RUNTIMES, ORT_CUDA, ORT_TENSORRT

TORCH, TORCH_CUDA = "torch", "torch-cuda"
"""The network as it was trained, in PyTorch's eager mode, on the processor or on a GPU."""

ON_GPU = (ORT_CUDA, ORT_TENSORRT, *ENGINE_RUNTIMES, TORCH_CUDA)


@dataclass(frozen=True)
class Contestant:
    """One row of a measurement, as it was asked for.

    Attributes:
        model: the name of its model in this measurement, such as "digits" or "naive".
        runtime: one of `nd_deploy.runtime.options.RUNTIMES`, TORCH or TORCH_CUDA.
        batch: how many inputs a run takes.
        threads: of one operator; None where the runtime chooses, and on a GPU.
        cuda_graph: whether a captured CUDA graph is replayed.
        cold_l2: whether the GPU's second-level cache is emptied before every run.
    """

    model: str
    runtime: str
    batch: int
    threads: int | None = None
    cuda_graph: bool = False
    cold_l2: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.runtime in ON_GPU

    def __str__(self) -> str:
        """Its name, unique in a measurement: "digits, ort-cpu, batch 8, 1 thread"."""
        parts = [self.model, self.runtime, f"batch {self.batch}"]
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        if self.cuda_graph:
            parts.append("CUDA graph")
        if self.cold_l2:
            parts.append("cold L2")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The contestant as JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Contestant:
        """The inverse of `as_dict`.

        Raises:
            ValueError: a field is missing or of another type.
        """
        from nd_deploy.bundle.fields import flag, optional, required

        return cls(
            required(fields, "model", str),
            required(fields, "runtime", str),
            required(fields, "batch", int),
            optional(fields, "threads", int),
            flag(fields, "cuda_graph"),
            flag(fields, "cold_l2"),
        )

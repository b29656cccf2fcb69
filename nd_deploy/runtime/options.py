"""What a model can be run with, and how: one vocabulary for every command and every runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nd_deploy.errors import InputError

ORT_CPU = "ort-cpu"
ORT_CUDA = "ort-cuda"
ORT_TENSORRT = "ort-tensorrt"
TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt-rtx"

RUNTIMES = (ORT_CPU, ORT_CUDA, ORT_TENSORRT, TENSORRT, TENSORRT_RTX)
ORT_RUNTIMES = (ORT_CPU, ORT_CUDA, ORT_TENSORRT)
ENGINE_RUNTIMES = (TENSORRT, TENSORRT_RTX)

_ON_GPU = (ORT_CUDA, ORT_TENSORRT, TENSORRT, TENSORRT_RTX)
_WITH_TENSORRT = (ORT_TENSORRT, TENSORRT, TENSORRT_RTX)


@dataclass(frozen=True)
class RunOptions:
    """How a model is to be run.

    Attributes:
        options: what is the runtime's own, by name, as text.
        plugins: plugin libraries, which are code that is run.
        precision: what an engine computes in: "float16" and "bfloat16" cast a float32 model, None
            takes the model as it is.
        tf32: whether a GPU may compute float32 products in TF32.
        cuda_graph: whether to capture a CUDA graph for each set of shapes, and replay it.
        engine: a TensorRT engine to run instead of building or looking for one.
        trust_unrecorded: run that engine though nothing says where it is from; its code is run.
        batch: the batches to be built for, as "1:8:32", or "8" for that one alone.
        shapes: for inputs with other open axes, as "input=1x3x64x64:8x3x64x64:32x3x64x64".
    """

    options: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()
    precision: str | None = None
    tf32: bool = False
    cuda_graph: bool = False
    engine: Path | None = None
    trust_unrecorded: bool = False
    batch: str | None = None
    shapes: tuple[str, ...] = ()


_UNSET = RunOptions()
# By field, its flag and the runtimes that it means something to.
_TAKERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "precision": ("--precision", ENGINE_RUNTIMES),
    "tf32": ("--tf32", _ON_GPU),
    "cuda_graph": ("--cuda-graph", _ON_GPU),
    "plugins": ("--plugin", _WITH_TENSORRT),
    "batch": ("--batch", _WITH_TENSORRT),
    "shapes": ("--shape", _WITH_TENSORRT),
    "engine": ("--engine", ENGINE_RUNTIMES),
}


def check_runtime(runtime: str, options: RunOptions) -> None:
    """Refuse a runtime that is not one of RUNTIMES, and options that mean nothing to it.

    Raises:
        InputError: there is something to refuse.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"there is no runtime {runtime!r}", f"choose from {', '.join(RUNTIMES)}")
    narrowed(options, runtime, (runtime,))
    if options.engine is None and options.trust_unrecorded:
        raise InputError("--trust-unrecorded is for an --engine", "name one, or drop it")
    if options.engine is not None and (options.batch is not None or options.shapes):
        raise InputError(
            "--batch and --shape are for building an engine, and --engine names one that is built",
            "give the one or the other",
        )


def narrowed(options: RunOptions, runtime: str, runtimes: Sequence[str]) -> RunOptions:
    """The options that mean something to one of several runtimes.

    Args:
        options: of all of them; what is a runtime's own stays as it is.
        runtime: one of them.
        runtimes: all of them.

    Raises:
        InputError: an option means nothing to any of them.
    """
    kept = options
    for name, (flag, takers) in _TAKERS.items():
        unset = getattr(_UNSET, name)
        if getattr(options, name) == unset:
            continue
        if not set(runtimes) & set(takers):
            raise InputError(
                f"{flag} means nothing to --runtime {','.join(runtimes)}",
                f"drop it, or run the model on {' or '.join(takers)}",
            )
        if runtime not in takers:
            kept = replace(kept, **{name: unset})
    return kept

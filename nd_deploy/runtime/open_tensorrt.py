"""Opens engines of TensorRT and TensorRT-RTX from the options that every runtime understands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nd_deploy.compat import trt
from nd_deploy.runtime.option_values import Reader, path, read_values, size, switch, whole
from nd_deploy.runtime.options import TENSORRT, TENSORRT_RTX, RunOptions
from nd_deploy.runtime.tensorrt.building.request import LEVELS, BuildRequest
from nd_deploy.runtime.tensorrt.building.typed_model import typed_model
from nd_deploy.runtime.tensorrt.device import require_device
from nd_deploy.runtime.tensorrt.engines import engine_for
from nd_deploy.runtime.tensorrt.facts import read_facts
from nd_deploy.runtime.tensorrt.kept.engine_file import StoredEngine, check_engine, read_engine
from nd_deploy.runtime.tensorrt.profile import parse_batch, parse_shape
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner
from nd_deploy.runtime.tensorrt.shapes import make_profiles

_MIB = 2**20
_LIBRARIES = {TENSORRT: trt.TENSORRT, TENSORRT_RTX: trt.RTX}
_READERS: dict[str, Reader] = {
    "device_id": whole(0, 1023),
    "engine_host_code": switch,
    "optimization_level": whole(min(LEVELS), max(LEVELS)),
    "python_plugins": switch,
    "timing_cache": path,
    "workspace": size,
}
_ELSEWHERE = {
    "tf32": "--tf32",
    "cuda_graph": "--cuda-graph",
    "precision": "--precision",
}


def open_tensorrt(
    model: Path, runtime: str, options: RunOptions, report: Callable[[str], None]
) -> TensorRTRunner:
    """Open the engine of a model: the one named, one that is kept, or one built now.

    Args:
        model: the ONNX file; it is not needed afterwards.
        runtime: "tensorrt" or "tensorrt-rtx".
        options: how to run it; already checked against the runtime.
        report: called with a line of text as the engine is built.

    Raises:
        InputError: an option makes no sense, a file is missing, or an open axis has no range.
        GraphError: the parser refuses the model.
        BackendError: there is no GPU, the engine is for something else, or it would not run as
            asked.
        MissingDependencyError: TensorRT, or a package for CUDA, is not installed.
    """
    own = read_values(_READERS, options.options, _ELSEWHERE)
    device = own.get("device_id", 0)
    library = trt.choose(_LIBRARIES[runtime])
    # A build takes minutes, and would be for nothing.
    require_device(device)
    stored = (
        _built(model, library, options, own, device, report)
        if options.engine is None
        else _named(model, library, options.engine, options)
    )
    return TensorRTRunner(
        stored,
        allow_host_code=own.get("engine_host_code", False),
        plugin_libraries=options.plugins,
        python_plugins=own.get("python_plugins", False),
        cuda_graph=options.cuda_graph,
        device=device,
        library=library,
    )


def _built(
    model: Path,
    library: str,
    options: RunOptions,
    own: dict[str, Any],
    device: int,
    report: Callable[[str], None],
) -> StoredEngine:
    batches = [] if options.batch is None else [parse_batch(options.batch)]
    shapes = list(map(parse_shape, options.shapes))
    workspace = own.get("workspace")
    request = BuildRequest(
        model=model,
        library=library,
        profiles=make_profiles(read_facts(model).inputs, batches, shapes),
        precision=options.precision,
        tf32=options.tf32,
        device=device,
        workspace_mib=None if workspace is None else max(1, workspace // _MIB),
        optimization_level=own.get("optimization_level"),
        timing_cache=own.get("timing_cache"),
        plugin_libraries=options.plugins,
        python_plugins=own.get("python_plugins", False),
    )
    return engine_for(request, report=report).stored


def _named(model: Path, library: str, file: Path, options: RunOptions) -> StoredEngine:
    """An engine from elsewhere, if it is one of this model that computes as asked."""
    stored = read_engine(file, options.trust_unrecorded)
    if stored.key is None:
        return stored
    with typed_model(model, options.precision) as typed:
        facts = read_facts(typed)
    wanted = replace(
        stored.key,
        model_sha256=facts.sha256,
        precision=facts.precision,
        library=library,
        tf32=options.tf32,
    )
    check_engine(stored, wanted)
    return stored

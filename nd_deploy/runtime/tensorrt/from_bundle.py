"""From a bundle to an engine: the way that the command line and Python share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nd_deploy.bundle import read_bundle
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.engines import Engine, engine_for
from nd_deploy.runtime.tensorrt.facts import read_facts
from nd_deploy.runtime.tensorrt.profile import parse_batch, parse_shape
from nd_deploy.runtime.tensorrt.shapes import make_profiles

LIBRARIES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The modules of the runtimes that build engines."""


def build(
    path: Path | str,
    output: Path | str | None = None,
    *,
    runtime: str | None = None,
    batch: str | Sequence[str] = (),
    shapes: Sequence[str] = (),
    precision: str | None = None,
    tf32: bool = False,
    plugins: Sequence[Path | str] = (),
    python_plugins: bool = False,
    rebuild: bool = False,
    report: Callable[[str], None] = lambda line: None,
    **settings: Any,  # noqa: ANN401 - further fields of BuildRequest
) -> Engine:
    """Build a TensorRT engine from a bundle, or find the one that was built before.

    Args:
        path: the bundle's folder.
        output: a file to build it into; None keeps it in the engine cache.
        runtime: "tensorrt" or "tensorrt-rtx"; None takes whichever is installed.
        batch: the batches to build for, such as "1:8:32" or "8"; several make several profiles.
        shapes: for other open axes, such as "input=1x3x64x64:8x3x64x64:32x3x96x96".
        precision: "float32", "float16" or "bfloat16"; the last two cast a float32 model. None
            builds it as it is.
        tf32: let float32 products be computed in TF32.
        plugins: plugin libraries, which are code that is run.
        python_plugins: use the ND plugins that are written in Python.
        rebuild: build it even if it is kept.
        report: called with a line of text as it goes on.
        **settings: `workspace_mib`, `optimization_level`, `timing_cache`, `embed_plugins`,
            `expected_default`, `compute_capabilities` or `device`, as of
            `nd_deploy.runtime.tensorrt.building.request.BuildRequest`.

    Returns:
        The engine's file and receipt.

    Raises:
        InputError: an option makes no sense, a shape does not suit the model, or the output cannot
            be written.
        BundleError: `path` is no bundle, or its files have changed.
        GraphError: the parser refuses the model.
        BackendError: a layer takes another path than was asked, TensorRT fails or is killed, or
            there is no GPU where it needs one.
        MissingDependencyError: the library is not installed.
    """
    if runtime is not None and runtime not in LIBRARIES:
        raise InputError(
            f"runtime {runtime!r} builds no engines", f"choose one of {', '.join(LIBRARIES)}"
        )
    bundle = read_bundle(path)
    batches = [batch] if isinstance(batch, str) else list(batch)
    request = BuildRequest(
        model=bundle.model_path,
        library=None if runtime is None else LIBRARIES[runtime],
        profiles=make_profiles(
            read_facts(bundle.model_path).inputs,
            list(map(parse_batch, batches)),
            list(map(parse_shape, shapes)),
        ),
        precision=precision,
        tf32=tf32,
        plugin_libraries=tuple(map(Path, plugins)),
        python_plugins=python_plugins,
        decisions=tuple(bundle.decisions),
        **settings,
    )
    file = None if output is None else Path(output)
    return engine_for(request, file, rebuild=rebuild, report=report)

"""Opens a model in whichever runtime is asked for."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nd_deploy.errors import GraphError
from nd_deploy.runtime.options import (
    ORT_CPU,
    ORT_CUDA,
    ORT_RUNTIMES,
    ORT_TENSORRT,
    RunOptions,
    check_runtime,
)

if TYPE_CHECKING:
    from onnx import ModelProto

    from nd_deploy.bundle import Bundle
    from nd_deploy.runtime.base import Runner


class OpenRunner(Protocol):
    """Opens models in a runtime that has been chosen."""

    def __call__(self, model: ModelProto | Path, *, optimise: bool = True) -> Runner:
        """Open one; see `open_runner`."""
        ...


def open_runner(
    model: ModelProto | Path,
    runtime: str,
    options: RunOptions | None = None,
    *,
    optimise: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> Runner:
    """Open a model in a runtime.

    Args:
        model: the model, or its file; a model that keeps its weights in other files must be given
            as a file.
        runtime: one of `nd_deploy.runtime.options.RUNTIMES`.
        options: how to run it.
        optimise: whether ONNX Runtime may rewrite the graph; TensorRT always does.
        report: called with a line of text as an engine is built, which may take minutes.

    Returns:
        The model, loaded. What it runs on is what was asked for.

    Raises:
        InputError: an option makes no sense, or a file is missing.
        GraphError: the runtime refuses the model.
        BackendError: the model cannot be run so.
        MissingDependencyError: the runtime is not installed.
    """
    chosen = RunOptions() if options is None else options
    check_runtime(runtime, chosen)
    if runtime in (ORT_CPU, ORT_CUDA):
        from nd_deploy.runtime.open_ort import open_ort

        return open_ort(model, runtime, chosen, optimise)
    with _as_file(model) as file:
        if runtime == ORT_TENSORRT:
            from nd_deploy.runtime.open_ort import open_ort

            return open_ort(file, runtime, chosen, optimise)
        from nd_deploy.runtime.open_tensorrt import open_tensorrt

        return open_tensorrt(file, runtime, chosen, report)


@contextlib.contextmanager
def _as_file(model: ModelProto | Path) -> Iterator[Path]:
    """TensorRT reads files; what it makes of one no longer needs it."""
    if isinstance(model, Path):
        yield model
        return
    import onnx

    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        file = Path(folder) / "model.onnx"
        try:
            onnx.save(model, file)
        except ValueError as error:  # protobuf's limit
            raise GraphError(
                f"the model cannot be serialised: {error}",
                "save models over 2 GiB with their weights in another file, and give the path",
            ) from error
        yield file


def opener(
    runtime: str,
    options: RunOptions | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> OpenRunner:
    """What opens models in one runtime; its arguments are checked here already.

    Args:
        runtime: as of `open_runner`, like the others.
        options: how to run them.
        report: called with a line of text as an engine is built.

    Raises:
        InputError: they make no sense together.
    """
    check_runtime(runtime, RunOptions() if options is None else options)
    return functools.partial(open_runner, runtime=runtime, options=options, report=report)


def deployed_model(bundle: Bundle, runtime: str) -> ModelProto | Path:
    """What a runtime reads of a bundle.

    Args:
        bundle: of any target.
        runtime: one of `nd_deploy.runtime.options.RUNTIMES`.

    Returns:
        The bundle's model file; where that was written for TensorRT alone, and the runtime is
        another, the model with the function bodies that it lacks.
    """
    from nd_deploy.targets import find_target, portable

    if find_target(bundle.manifest.target).bodies or runtime not in ORT_RUNTIMES:
        return bundle.model_path
    import onnx

    return portable(onnx.load(bundle.model_path))

"""Creates ONNX Runtime's sessions, which run what was asked for or are not created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.runtime.ort.names import CPU
from nd_deploy.runtime.ort.placement import RECORD

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession, SessionOptions


def create_session(
    model: ModelProto | Path,
    options: Mapping[str, Mapping[str, str]],
    optimise: bool,
    threads: int | None,
    tell_placement: bool,
    trace: Path | None = None,
) -> InferenceSession:
    """Load a model into a session.

    Args:
        model: the model, or its file.
        options: by provider, the best first. Unless the CPU is among them, no value is computed
            there; where the placement is told, that is left to the caller to make sure of.
        optimise: whether ONNX Runtime may rewrite the graph.
        threads: of one operator; None lets ONNX Runtime choose.
        tell_placement: whether the session is to be able to tell where each node runs.
        trace: where to write the time of every node in every run, which slows them down: the
            beginning of the file's name; None for no such file.

    Raises:
        InputError: the file does not exist.
        GraphError: ONNX Runtime refuses the model.
        BackendError: the providers cannot run it, or were not set up.
    """
    ort = compat.onnxruntime()
    settings = _settings(ort, optimise, threads)
    if trace is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(trace)
    if tell_placement:
        settings.add_session_config_entry(RECORD, "1")
    elif CPU not in options:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    source = _source(model)
    try:
        session = ort.InferenceSession(
            source,
            settings,
            providers=list(options),
            provider_options=[dict(entries) for entries in options.values()],
            # Either would run something else than asked.
            enable_fallback=0,
            read_config_from_model=0,
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        raise _refusal(model, options, error) from error
    _check_providers(tuple(options), tuple(session.get_providers()))
    return session


def _settings(ort: ModuleType, optimise: bool, threads: int | None) -> SessionOptions:
    settings = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    settings.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    )
    # Every failure is raised with its message, so that a log line would only repeat it.
    settings.log_severity_level = 4
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.intra_op_num_threads = threads or 0
    settings.inter_op_num_threads = 1
    # Idle threads that spin take the processor from whatever else is measured or served.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return settings


def _source(model: ModelProto | Path) -> str | bytes:
    if isinstance(model, Path):
        if not model.is_file():
            raise InputError(f"{model} is no file", "give the path of an ONNX model")
        return str(model)
    try:
        serialized: bytes = model.SerializeToString()
    except Exception as error:  # of a class that depends on protobuf's backend
        raise GraphError(
            f"the model cannot be serialised: {error}",
            "save models over 2 GiB with their weights in another file, and give the path",
        ) from error
    return serialized


def _refusal(
    model: ModelProto | Path, asked: Sequence[str] | Mapping[str, object], error: Exception
) -> GraphError | BackendError:
    name = str(model) if isinstance(model, Path) else "the model"
    if CPU in asked:
        return GraphError(
            f"ONNX Runtime refuses {name}: {error}",
            "check it with onnx.checker.check_model, and that this ONNX Runtime knows its opset "
            "and operators",
        )
    return BackendError(
        f"{name} cannot run on {', '.join(asked)} alone: {error}",
        "check with 'nd-deploy doctor' that the driver and the libraries fit each other, or run "
        "the model on another runtime",
    )


def _check_providers(asked: tuple[str, ...], got: tuple[str, ...]) -> None:
    # The CPU provider stands last in every session, whether or not a node is on it.
    if got == asked or got == (*asked, CPU):
        return
    raise BackendError(
        f"ONNX Runtime runs the model on {', '.join(got)}, not on {', '.join(asked)} as asked",
        compat.onnxruntime_conflict()
        or "usually a driver or a CUDA or cuDNN library is missing or of another version; "
        "'nd-deploy doctor' shows what is there",
    )

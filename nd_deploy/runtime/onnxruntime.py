"""Runs a model in ONNX Runtime, on the execution providers asked for or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.errors import BackendError, GraphError, InputError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.feeds import Port, check_feeds

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto
    from onnxruntime import InferenceSession

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"

_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
} | {
    f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}


class OnnxRuntimeRunner:
    """A model in an ONNX Runtime session.

    Args:
        model: the model, or its file; a model that keeps its weights in other files must be given
            as a file.
        providers: execution providers, best first. Unless the CPU is among them, every node has to
            run on one of them.
        optimise: whether ONNX Runtime may rewrite the graph.
        threads: threads of one operator; None lets ONNX Runtime choose.
        provider_options: options by provider. CUDA computes without TF32 unless `use_tf32` is set.

    Raises:
        InputError: the file does not exist, or `threads` or `provider_options` make no sense.
        GraphError: ONNX Runtime refuses the model.
        BackendError: a provider is unknown or unavailable, or cannot run the whole model.
        MissingDependencyError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        model: ModelProto | Path,
        providers: Sequence[str] = (CPU,),
        optimise: bool = True,
        threads: int | None = None,
        provider_options: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        ort = compat.onnxruntime()
        asked = tuple(providers)
        given = dict(provider_options or {})
        _check_arguments(ort, asked, given, threads)
        options = {name: dict(given.get(name, {})) for name in asked}
        if CUDA in options:
            options[CUDA].setdefault("use_tf32", "0")
        if CUDA in asked or _TENSORRT in asked:
            compat.preload_cuda()
        self._session = _create_session(ort, model, options, optimise, threads)
        got = tuple(self._session.get_providers())
        _check_providers(asked, got)
        self._ports = [
            Port(i.name, _DTYPES.get(i.type), None if i.shape is None else tuple(i.shape))
            for i in self._session.get_inputs()
        ]
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._receipt = Receipt(
            runtime="onnxruntime",
            version=ort.__version__,
            providers_asked=asked,
            providers_got=got,
            options={f"{name}.{key}": v for name in asked for key, v in options[name].items()}
            | {"graph_optimization": "all" if optimise else "none"},
            threads=threads,
            tf32=_tf32(options),
        )

    @property
    def receipt(self) -> Receipt:
        """What the model runs with."""
        return self._receipt

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            feeds: every input by name, in the model's dtypes and shapes.

        Returns:
            Every output by name.

        Raises:
            InputError: an input is missing, unknown, or of another dtype or shape.
            BackendError: ONNX Runtime failed.
        """
        check_feeds(self._ports, feeds)
        try:
            results = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise BackendError(
                f"ONNX Runtime failed while running the model: {error}",
                "check that the shapes given suit every layer of the model",
            ) from error
        return dict(zip(self._outputs, results, strict=True))


def _check_arguments(
    ort: ModuleType, asked: tuple[str, ...], given: Mapping[str, object], threads: int | None
) -> None:
    if not asked:
        raise InputError("no execution provider is given", f"name at least one, such as {CPU}")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}", "give at least 1, or None for a default")
    stray = sorted(set(given) - set(asked))
    if stray:
        raise InputError(
            f"options are given for {', '.join(stray)}, which is not asked for",
            f"add it to the providers ({', '.join(asked)}) or drop the options",
        )
    available = ort.get_available_providers()
    unknown = [name for name in asked if name not in available]
    if unknown:
        raise BackendError(
            f"this ONNX Runtime ({ort.__version__}) does not have {', '.join(unknown)}; "
            f"it has {', '.join(available)}",
            compat.onnxruntime_conflict()
            or "ask for one of those, or install nd-deploy[gpu] in place of nd-deploy[cpu]",
        )


def _create_session(
    ort: ModuleType,
    model: ModelProto | Path,
    options: Mapping[str, dict[str, str]],
    optimise: bool,
    threads: int | None,
) -> InferenceSession:
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
    if CPU not in options:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    source = _source(model)
    try:
        return ort.InferenceSession(
            source,
            settings,
            providers=list(options),
            provider_options=list(options.values()),
            # Either would run something else than asked.
            enable_fallback=0,
            read_config_from_model=0,
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        name = str(model) if isinstance(model, Path) else "the model"
        if CPU in options:
            raise GraphError(
                f"ONNX Runtime refuses {name}: {error}",
                "check it with onnx.checker.check_model, and that this ONNX Runtime knows its "
                "opset and operators",
            ) from error
        raise BackendError(
            f"{name} cannot run on {', '.join(options)} alone: {error}",
            f"add {CPU} to the providers to let it run the rest, or check the driver and the "
            "libraries that the provider needs",
        ) from error


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


def _check_providers(asked: tuple[str, ...], got: tuple[str, ...]) -> None:
    # The CPU provider stands last in every session; without it being asked for, no node is on it.
    if got == asked or got == (*asked, CPU):
        return
    raise BackendError(
        f"ONNX Runtime runs the model on {', '.join(got)}, not on {', '.join(asked)} as asked",
        compat.onnxruntime_conflict()
        or "usually a driver or a CUDA or cuDNN library is missing or of another version; "
        "'nd-deploy doctor' shows what is there",
    )


def _tf32(options: Mapping[str, Mapping[str, str]]) -> bool | None:
    if _TENSORRT in options:
        return None
    return CUDA in options and options[CUDA]["use_tf32"] == "1"

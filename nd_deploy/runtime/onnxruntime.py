"""Runs a model in ONNX Runtime, on the execution providers asked for or not at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.compat import ort as compat_ort
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.feeds import Port, check_feeds
from nd_deploy.runtime.ort import plugins, tf32
from nd_deploy.runtime.ort.bindings import BufferedRuns
from nd_deploy.runtime.ort.buffers import Device, FixedBuffers
from nd_deploy.runtime.ort.libraries import require_libraries, require_providers
from nd_deploy.runtime.ort.names import CPU, CUDA, GPU, TENSORRT
from nd_deploy.runtime.ort.placement import (
    count_nodes,
    placed_nodes,
    require_placement,
    require_plugins,
)
from nd_deploy.runtime.ort.session import create_session

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto
    from onnxruntime import InferenceSession, NodeArg

_DTYPES = {
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
} | {
    f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
_GRAPH_OPTIONS = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}
_PLUGINS = "trt_extra_plugin_lib_paths"
# The TensorRT provider captures once, and would replay that for whatever shapes come next.
_CAPTURES = {CUDA: None, TENSORRT: 1}


class OnnxRuntimeRunner:
    """A model in an ONNX Runtime session.

    Args:
        model: the model, or its file; a model that keeps its weights in other files must be given
            as a file.
        providers: execution providers, best first. Unless the CPU is among them, every node that
            computes values has to run on one of them.
        optimise: whether ONNX Runtime may rewrite the graph.
        threads: threads of one operator; None lets ONNX Runtime choose.
        provider_options: options by provider; `nd_deploy.runtime.ort.providers` has them typed.
            Where CUDA graphs are enabled, runs go through fixed buffers on the device.
        tf32: whether a GPU may compute float32 products in TF32, unless the CUDA provider's
            `use_tf32` is given.
        trace: where to write the time of every node in every run, which slows them down: the
            beginning of the file's name; None for no such file. `end_trace` closes it.

    Raises:
        InputError: the file does not exist, a plugin library is not one, or `threads` or
            `provider_options` make no sense.
        GraphError: ONNX Runtime refuses the model.
        BackendError: a provider is unknown, unavailable, lacks a library, or cannot run the whole
            model; or an earlier session of this process rules this one out.
        MissingDependencyError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        model: ModelProto | Path,
        providers: Sequence[str] = (CPU,),
        optimise: bool = True,
        threads: int | None = None,
        provider_options: Mapping[str, Mapping[str, str]] | None = None,
        tf32: bool = False,
        trace: Path | None = None,
    ) -> None:
        ort = compat.onnxruntime()
        asked = tuple(providers)
        given = dict(provider_options or {})
        _check_arguments(asked, given, threads)
        options = {name: dict(given.get(name, {})) for name in asked}
        if CUDA in options:
            options[CUDA].setdefault("use_tf32", str(int(tf32)))
        for provider in asked:
            require_libraries(provider)
        allowed = _settle_tf32(options, tf32)
        hashes = _admit_plugins(options)
        # A session on the CPU alone has nothing to tell.
        told = compat_ort.tells_placement() and asked != (CPU,)
        self._session = create_session(model, options, optimise, threads, told, trace)
        placement = _checked_placement(self._session, asked, model, bool(hashes)) if told else {}
        self._ports = _ports(self._session.get_inputs())
        outputs = _ports(self._session.get_outputs())
        self._outputs = [port.name for port in outputs]
        self._replays = any(options.get(p, {}).get(o) == "1" for p, o in _GRAPH_OPTIONS.items())
        self._buffers = _device_buffers(self._session, options, self._ports, outputs)
        if self._buffers is not None and self._replays:
            self._buffers.check()
        self._receipt = Receipt(
            runtime="onnxruntime",
            version=ort.__version__,
            providers_asked=asked,
            providers_got=tuple(self._session.get_providers()),
            options={f"{name}.{key}": v for name in asked for key, v in options[name].items()}
            | {"graph_optimization": "all" if optimise else "none"},
            threads=threads,
            tf32=allowed,
            placement=placement,
            files=hashes,
        )

    @property
    def receipt(self) -> Receipt:
        """What the model runs with."""
        return self._receipt

    @property
    def output_names(self) -> tuple[str, ...]:
        """What its outputs are called, in the model's order."""
        return tuple(self._outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            feeds: every input by name, in the model's dtypes and shapes.

        Returns:
            Every output by name.

        Raises:
            InputError: an input is missing, unknown, or of another dtype or shape.
            BackendError: ONNX Runtime failed, or cannot capture a CUDA graph for these shapes.
        """
        check_feeds(self._ports, feeds)
        if self._buffers is not None and self._replays:
            return self._buffers.run(feeds)
        try:
            results = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise BackendError(
                f"ONNX Runtime failed while running the model: {error}",
                "check that the shapes given suit every layer of the model",
            ) from error
        return dict(zip(self._outputs, results, strict=True))

    def end_trace(self) -> Path:
        """Close the trace that the runner was opened with.

        Returns:
            Its file.
        """
        return Path(self._session.end_profiling())

    def bound_run(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """The session's own `run`, bound to the same arrays, as for measuring it alone.

        Args:
            feeds: as of `run`; they are checked here and not at each call.

        Returns:
            What gives every output, in the order of `output_names`, and raises ONNX Runtime's own
            exceptions.

        Raises:
            InputError: as of `run`.
        """
        check_feeds(self._ports, feeds)
        return functools.partial(self._session.run, self._outputs, dict(feeds))

    def prepare(self, feeds: Mapping[str, np.ndarray]) -> FixedBuffers:
        """Make ready to run on the same arrays time and again, as for measuring.

        Args:
            feeds: as of `run`.

        Returns:
            The inputs on the GPU: its `run` computes on them without copying.

        Raises:
            InputError: as of `run`; or the model is not on a GPU, where there is nothing to copy.
            BackendError: as of `run`; or the sizes of an output do not follow from the inputs'.
        """
        check_feeds(self._ports, feeds)
        if self._buffers is None:
            raise InputError(
                f"{', '.join(self._receipt.providers_asked)} has no buffers but the arrays given",
                "call run, which copies nothing there, or run the model on a GPU",
            )
        buffers = self._buffers.at({name: array.shape for name, array in feeds.items()})
        buffers.feed(feeds)
        return buffers


def _check_arguments(
    asked: tuple[str, ...], given: Mapping[str, object], threads: int | None
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
    require_providers(asked)


def _settle_tf32(options: Mapping[str, Mapping[str, str]], wanted: bool) -> bool:
    """Whether float32 products may be in TF32, once every provider has been told."""
    by_provider = {TENSORRT: wanted}
    if CUDA in options:
        by_provider[CUDA] = options[CUDA]["use_tf32"] == "1"
    asked = [provider for provider in GPU if provider in options]
    for provider in asked:
        tf32.settle(by_provider[provider], tensorrt=provider == TENSORRT)
    return any(by_provider[provider] for provider in asked)


def _admit_plugins(options: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The sha256 of every plugin library, each of which has been checked."""
    if TENSORRT not in options:
        return {}
    paths = options[TENSORRT].get(_PLUGINS, "")
    return plugins.admit([Path(path) for path in paths.split(plugins.SEPARATOR) if path])


def _checked_placement(
    session: InferenceSession, asked: Sequence[str], model: ModelProto | Path, plugins_asked: bool
) -> dict[str, int]:
    import onnx

    nodes = placed_nodes(session)
    if plugins_asked or any(node.provider not in asked for node in nodes):
        proto = onnx.load(model, load_external_data=False) if isinstance(model, Path) else model
        if plugins_asked:
            require_plugins(nodes, proto)
        require_placement(nodes, asked, proto)
    return count_nodes(nodes)


def _ports(arguments: Iterable[NodeArg]) -> list[Port]:
    return [
        Port(a.name, _DTYPES.get(a.type), None if a.shape is None else tuple(a.shape))
        for a in arguments
    ]


def _device_buffers(
    session: InferenceSession,
    options: Mapping[str, Mapping[str, str]],
    inputs: Sequence[Port],
    outputs: Sequence[Port],
) -> BufferedRuns | None:
    for provider, option in _GRAPH_OPTIONS.items():
        if provider in options:
            entries = options[provider]
            device = Device("cuda", int(entries.get("device_id", "0")))
            replays = entries.get(option) == "1"
            captures = _CAPTURES[provider] if replays else None
            return BufferedRuns(session, inputs, outputs, device, captures)
    return None

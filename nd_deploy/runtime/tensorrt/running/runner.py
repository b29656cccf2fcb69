"""Runs a TensorRT engine, on the GPU that it was built for or not at all."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat import trt as trt_compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import BackendError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.feeds import check_feeds
from nd_deploy.runtime.tensorrt.device import Device, require_device
from nd_deploy.runtime.tensorrt.kept.engine_file import StoredEngine, check_engine, read_engine
from nd_deploy.runtime.tensorrt.running.engine_loading import Loading, load_engine, plugin_hashes
from nd_deploy.runtime.tensorrt.running.execution import Execution
from nd_deploy.runtime.tensorrt.running.probe import require_engine
from nd_deploy.runtime.tensorrt.running.profile_choice import check_profile, choose_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A graph holds a context of its own, and a context the memory of all activations.
_GRAPHS_KEPT = 4


class TensorRTRunner:
    """An engine, loaded.

    Args:
        engine: the engine, or its file, whose record has to lie beside it.
        allow_host_code: let the engine bring code that runs on this machine's processor, such as
            plugin libraries inside it.
        plugin_libraries: shared libraries with the plugins that the engine needs.
        python_plugins: register the plugins written in Python.
        cuda_graph: capture a CUDA graph for each set of shapes, and replay it.
        device: CUDA's number of the GPU.
        profile: the optimisation profile to use; None chooses one for each set of shapes.
        trust_unrecorded: take an engine of another tool, of which nothing is recorded.
        library: "tensorrt" or "tensorrt_rtx", for an engine of which nothing is recorded.
        probe: load the engine in a process of its own first, because what is wrong with it may
            abort the process that it is in. False if that was done already.

    Raises:
        InputError: a file is missing or is not what was written, or the profile does not exist.
        BackendError: there is no GPU, the engine is for another one or another version, a plugin
            is missing, or the GPU has too little memory.
        MissingDependencyError: TensorRT, or a package for CUDA, is not installed.
    """

    def __init__(
        self,
        engine: StoredEngine | Path | str,
        *,
        allow_host_code: bool = False,
        plugin_libraries: Sequence[Path] = (),
        python_plugins: bool = False,
        cuda_graph: bool = False,
        device: int = 0,
        profile: int | None = None,
        trust_unrecorded: bool = False,
        library: str | None = None,
        probe: bool = True,
    ) -> None:
        if not isinstance(engine, StoredEngine):
            engine = read_engine(engine, trust_unrecorded)
        module = trt_compat.load(library if engine.key is None else engine.key.library)
        libraries = tuple(map(Path, plugin_libraries))
        loading = Loading(module.__name__, libraries, python_plugins, allow_host_code)
        self._cuda = cuda_compat.find()
        self._device = require_device(device, self._cuda)
        hashes = _check_here(engine, module, self._device, loading)
        if probe:
            require_engine(engine, loading, device)
        self._loaded = load_engine(module, engine.read(), str(engine.plan_path), loading)
        check_profile(self._loaded.facts, profile)
        self._profile = profile
        self._cuda_graph = cuda_graph
        self._lock = threading.Lock()
        self._execution: Execution | None = None
        self._captured: OrderedDict[object, Execution] = OrderedDict()
        self._receipt = self._write_receipt(engine, module, hashes, loading)

    @property
    def receipt(self) -> Receipt:
        """What the engine runs with."""
        return self._receipt

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the engine once.

        Args:
            feeds: every input by name, in the engine's dtypes and in shapes that it takes.

        Returns:
            Every output by name.

        Raises:
            InputError: an input is missing, unknown, of another dtype, or of a shape that no
                profile takes.
            BackendError: the GPU has too little memory, TensorRT fails, or the run cannot be
                captured as a CUDA graph.
        """
        profile = self._check(feeds)
        with self._lock, self._ready(feeds, profile) as execution:
            execution.upload(feeds)
            if self._cuda_graph and not execution.captured:
                execution.capture()
            execution.enqueue()
            return execution.download()

    def prepare(self, feeds: Mapping[str, NDArray[Any]]) -> Execution:
        """Make ready to run on the same arrays time and again, as for measuring.

        Args:
            feeds: as of `run`.

        Returns:
            An execution of its own, with the inputs on the GPU and, if the runner uses CUDA
            graphs, captured: `enqueue` and `synchronise` run it. Close it after use.

        Raises:
            InputError, BackendError: as of `run`.
        """
        profile = self._check(feeds)
        self._cuda.use_device(self._device.index)
        execution = Execution(self._loaded, self._cuda)
        try:
            execution.bind({name: array.shape for name, array in feeds.items()}, profile)
            execution.upload(feeds)
            if self._cuda_graph:
                execution.capture()
            execution.synchronise()
        except BaseException:
            execution.close()
            raise
        return execution

    def close(self) -> None:
        """Give the GPU's memory back; the runner runs again if asked to."""
        with self._lock:
            for execution in (self._execution, *self._captured.values()):
                if execution is not None:
                    execution.close()
            self._execution = None
            self._captured.clear()

    def __enter__(self) -> TensorRTRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, feeds: Mapping[str, NDArray[Any]]) -> int:
        """The profile to run in."""
        facts = self._loaded.facts
        check_feeds([tensor.port for tensor in facts.inputs], feeds)
        shapes = {name: array.shape for name, array in feeds.items()}
        return choose_profile(facts, shapes, self._profile)

    @contextlib.contextmanager
    def _ready(self, feeds: Mapping[str, NDArray[Any]], profile: int) -> Iterator[Execution]:
        """An execution for these shapes, which is not used again after an error."""
        # CUDA's device is each thread's own.
        self._cuda.use_device(self._device.index)
        shapes = {name: feeds[name].shape for name in sorted(feeds)}
        key = (profile, tuple(shapes.items()))
        execution = self._captured.pop(key, None) if self._cuda_graph else self._execution
        self._execution = None
        try:
            if execution is None:
                self._make_room()
                execution = Execution(self._loaded, self._cuda)
            execution.bind(shapes, profile)
            yield execution
        except BaseException:
            if execution is not None:
                execution.close()
            raise
        if self._cuda_graph:
            self._captured[key] = execution
        else:
            self._execution = execution

    def _make_room(self) -> None:
        while len(self._captured) >= _GRAPHS_KEPT:
            _, oldest = self._captured.popitem(last=False)
            oldest.close()

    def _write_receipt(
        self,
        engine: StoredEngine,
        module: TensorRT,
        hashes: Sequence[str],
        loading: Loading,
    ) -> Receipt:
        title = trt_compat.title(module.__name__)
        options = {
            "engine": engine.sha256,
            "model": "unknown" if engine.key is None else engine.key.model_sha256,
            "precision": "unknown" if engine.key is None else engine.key.precision,
            "device": self._device.name,
            "compute_capability": self._device.compute_capability,
            "cuda": self._cuda.name,
            "cuda_graph": str(self._cuda_graph),
            "profile": "chosen by shape" if self._profile is None else str(self._profile),
            "plugins": ", ".join(hashes) or "none",
            "python_plugins": str(loading.python_plugins),
            "host_code": str(loading.allow_host_code),
        }
        return Receipt(
            runtime=module.__name__,
            version=str(module.__version__),
            providers_asked=(title,),
            providers_got=(title,),
            options=options,
            tf32=None if engine.key is None else engine.key.tf32,
        )


def _check_here(
    engine: StoredEngine, module: TensorRT, device: Device, loading: Loading
) -> tuple[str, ...]:
    """Refuse an engine for elsewhere before it is loaded, and hash the plugin libraries."""
    hashes = plugin_hashes(loading)
    if engine.key is None:
        return hashes
    here = replace(
        engine.key,
        version=str(module.__version__),
        device=device.name,
        compute_capability=device.compute_capability,
    )
    check_engine(engine, here)
    missing = sorted(set(engine.key.plugins) - set(hashes))
    if missing and not loading.allow_host_code:
        raise BackendError(
            f"the engine {engine.plan_path} was built with a plugin library that is not given, of "
            f"sha256 {missing[0]}",
            "name that very file with --plugin FILE, or build the engine again with the one that "
            "is here; if the engine carries the library and you trust it, pass --option "
            "engine_host_code=1",
        )
    return hashes

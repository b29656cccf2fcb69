"""Loads an engine into this process, with the plugins that it needs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nd_deploy.bundle.files import sha256
from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.plugins import PYTHON
from nd_deploy.runtime.tensorrt.running.engine_facts import EngineFacts, read_engine_facts
from nd_deploy.runtime.tensorrt.running.refusal import Messages, refusal

# A registry refuses a library that it has already.
_LOADED: set[tuple[str, Path]] = set()


@dataclass(frozen=True)
class Loading:
    """How to load an engine.

    Attributes:
        library: the module, "tensorrt" or "tensorrt_rtx".
        plugin_libraries: shared libraries with plugins.
        python_plugins: whether to register the plugins written in Python.
        allow_host_code: whether the engine may bring code that runs on this machine's processor.
    """

    library: str
    plugin_libraries: Sequence[Path] = ()
    python_plugins: bool = False
    allow_host_code: bool = False


@dataclass(frozen=True)
class LoadedEngine:
    """An engine, and what has to live as long as it does.

    Attributes:
        engine: the ICudaEngine.
        facts: what it says about itself.
        messages: what TensorRT says, also from now on.
        runtime: the Runtime that loaded it.
        logger: the ILogger of `messages`.
    """

    engine: Any
    facts: EngineFacts
    messages: Messages
    runtime: Any
    logger: Any


def load_engine(trt: TensorRT, plan: bytes, name: str, loading: Loading) -> LoadedEngine:
    """Load an engine.

    Args:
        trt: the module.
        plan: the serialised engine.
        name: what to call it in messages.
        loading: how; its `library` is that of `trt`.

    Returns:
        The engine.

    Raises:
        InputError: a plugin library cannot be loaded.
        BackendError: the engine is refused, or has inputs or outputs that cannot be used.
    """
    messages = Messages()
    logger = compat.make_logger(trt, messages)
    title = f"{compat.title(trt.__name__)} {trt.__version__}"
    _load_plugins(trt, logger, messages, title, loading)
    try:
        runtime = trt.Runtime(logger)
    except (TypeError, RuntimeError) as error:  # a null pointer, in pybind11's words
        raise refusal(name, title, messages) from error
    compat.allow_host_code(runtime, loading.allow_host_code)
    diagnostics = _diagnose(trt, runtime, plan)
    if diagnostics:
        raise refusal(name, title, messages, diagnostics)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise refusal(name, title, messages)
    return LoadedEngine(engine, read_engine_facts(trt, engine), messages, runtime, logger)


def plugin_hashes(loading: Loading) -> tuple[str, ...]:
    """The sha256 of every plugin library.

    Raises:
        InputError: one is missing.
    """
    for library in loading.plugin_libraries:
        if not library.is_file():
            raise InputError(
                f"--plugin {library} is no file",
                "build the library with 'nd-deploy plugin build', and name the file that it wrote",
            )
    return tuple(map(sha256, loading.plugin_libraries))


def _diagnose(trt: TensorRT, runtime: Any, plan: bytes) -> list[str]:  # noqa: ANN401 - a Runtime
    """What TensorRT-RTX finds wrong with an engine before it loads it, by its own names."""
    if not hasattr(runtime, "get_engine_validity"):
        return []
    validity, found = runtime.get_engine_validity(plan)
    if validity != trt.EngineValidity.INVALID:
        return []
    flags = trt.EngineInvalidityDiagnostics.__members__
    return [name for name, flag in flags.items() if int(found) & int(flag)]


def _load_plugins(
    trt: TensorRT,
    logger: Any,  # noqa: ANN401 - an ILogger
    messages: Messages,
    title: str,
    loading: Loading,
) -> None:
    # TensorRT's own plugins, which TensorRT-RTX may lack.
    if hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(logger, "")
    for library in loading.plugin_libraries:
        known = (trt.__name__, library.resolve())
        if known in _LOADED:
            continue
        if trt.get_plugin_registry().load_library(str(library)) is None:
            raise InputError(
                f"--plugin {library}: {title} cannot load it: {messages.errors()}",
                f"'nd-deploy plugin check {library}' says what it is",
            )
        _LOADED.add(known)
    if loading.python_plugins:
        importlib.import_module(PYTHON).register(trt)

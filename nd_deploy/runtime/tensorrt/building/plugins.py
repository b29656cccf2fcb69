"""Registers the plugins that a build is given."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nd_deploy.bundle.files import sha256
from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.log import Log

PYTHON = "nd_deploy.plugins.twin"


@dataclass(frozen=True)
class PluginRecord:
    """Where plugins came from.

    Attributes:
        source: a library's file, or the Python module.
        sha256: the hash of the library; None for Python.
        plugins: namespace, name and version of each that it registered.
        embedded: whether the engine carries the library.
    """

    source: str
    sha256: str | None
    plugins: tuple[str, ...]
    embedded: bool


def register_plugins(trt: TensorRT, request: BuildRequest, log: Log) -> tuple[PluginRecord, ...]:
    """Register every plugin that is asked for with TensorRT.

    Args:
        trt: the module.
        request: what is asked for.
        log: of TensorRT's messages.

    Returns:
        A record for each library, and one for the plugins in Python.

    Raises:
        InputError: a library cannot be loaded, or has no plugin that is not registered already.
        BackendError: TensorRT refuses a plugin in Python.
    """
    registry = trt.get_plugin_registry()
    records = [
        _load(trt, registry, library, request.embed_plugins, log)
        for library in request.plugin_libraries
    ]
    if request.python_plugins:
        before = compat.plugin_creators(registry)
        importlib.import_module(PYTHON).register(trt)
        records.append(PluginRecord(PYTHON, None, _new(registry, before), embedded=False))
    return tuple(records)


def _load(
    trt: TensorRT,
    registry: Any,  # noqa: ANN401 - an IPluginRegistry
    library: Path,
    embedded: bool,
    log: Log,
) -> PluginRecord:
    before, since = compat.plugin_creators(registry), len(log.messages)
    handle = registry.load_library(str(library))
    name = compat.described(trt)
    if handle is None:
        raise InputError(
            f"--plugin {library}: {name} cannot load it: {log.words(since)}",
            f"'nd-deploy plugin check {library}' says what it is; 'nd-deploy plugin build' makes "
            "one for this machine",
        )
    plugins = _new(registry, before)
    if not plugins:
        raise InputError(
            f"--plugin {library}: it registers no plugin that was not there before",
            "name a library of plugins once, and each plugin in one library alone",
        )
    return PluginRecord(str(library), sha256(library), plugins, embedded)


def _new(registry: Any, before: set[compat.PluginId]) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(sorted(map(str, compat.plugin_creators(registry) - before)))

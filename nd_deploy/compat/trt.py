"""What differs between TensorRT 10.3 to 11.x and TensorRT-RTX, found by attribute.

A module `trt` below is `tensorrt` or `tensorrt_rtx`; both have one interface, of which each
version lacks some part.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from nd_deploy.compat.packages import require
from nd_deploy.errors import InputError, MissingDependencyError

TENSORRT = "tensorrt"
RTX = "tensorrt_rtx"

TensorRT: TypeAlias = Any  # the module

_EXTRAS = {TENSORRT: "tensorrt", RTX: "rtx"}
_TITLES = {TENSORRT: "TensorRT", RTX: "TensorRT-RTX"}
_RTX_LIBRARY = "libtensorrt_rtx.so"
_INSTALL = {name: f"pip install 'nd-deploy[{extra}]'" for name, extra in _EXTRAS.items()}


class Precedence(str, Enum):
    """What the parser takes for a node that has a function body and a registered plugin."""

    BODY = "this version's parser takes the function body whatever is registered"
    PLUGIN = "this version's parser takes a plugin of the node's plugin_namespace before the body"
    ATTRIBUTE = "this version's parser takes the body unless the node has plugin_namespace"


class PluginId(NamedTuple):
    """What a plugin is looked up by."""

    name: str
    version: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.namespace}::{self.name} {self.version}"


def title(name: str) -> str:
    """What people call the library whose module is `name`."""
    return _TITLES[name]


def described(trt: TensorRT) -> str:
    """The library's name and version, such as "TensorRT 10.3.0"."""
    return f"{title(trt.__name__)} {trt.__version__}"


def installed() -> tuple[str, ...]:
    """The modules of TensorRT that are there, without importing them; TensorRT itself first."""
    found = []
    for name in _EXTRAS:
        spec = importlib.util.find_spec(name)
        # A folder that happens to be called so has no origin.
        if spec is not None and spec.origin is not None:
            found.append(name)
    return tuple(found)


def choose(asked: str | None = None) -> str:
    """The library to use: the one asked for, or whichever is there.

    Args:
        asked: "tensorrt" or "tensorrt_rtx"; None prefers the first.

    Returns:
        The module's name.

    Raises:
        MissingDependencyError: it is not installed, or neither is.
    """
    there = installed()
    if asked is None:
        if there:
            return there[0]
        raise MissingDependencyError(
            "neither TensorRT nor TensorRT-RTX is installed",
            f"install TensorRT for this GPU: {_INSTALL[TENSORRT]}; or TensorRT-RTX, which builds "
            f"without a GPU: {_INSTALL[RTX]}",
        )
    if asked in there:
        return asked
    others = f"; {title(there[0])} is here, and used if none is asked for" if there else ""
    raise MissingDependencyError(
        f"{title(asked)} is not installed", f"install it: {_INSTALL[asked]}{others}"
    )


def load(asked: str | None = None) -> TensorRT:
    """Import TensorRT or TensorRT-RTX; see `choose`.

    Raises:
        MissingDependencyError: it is not installed, or its installation is broken.
    """
    name = choose(asked)
    module = require(name, _EXTRAS[name])
    if not hasattr(module, "Runtime"):
        repair = _INSTALL[name].replace("install", "install --force-reinstall", 1)
        raise MissingDependencyError(
            f"`{name}` is installed but empty", f"repair the installation: {repair}"
        )
    return module


@contextlib.contextmanager
def linkable(name: str) -> Iterator[dict[str, str]]:
    """What a process that works with plugins of the library `name` needs in its environment.

    TensorRT-RTX's parser opens its own library by a name without a version when it meets a plugin,
    and aborts the process if there is none; the wheel has only the name with the version. The
    loader reads its path when a process starts, so that this helps new processes alone.

    Yields:
        Variables to set; they hold as long as the context does.
    """
    library = _versioned_rtx_library() if name == RTX else None
    if library is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        (Path(folder) / _RTX_LIBRARY).symlink_to(library)
        present = os.environ.get("LD_LIBRARY_PATH")
        yield {"LD_LIBRARY_PATH": os.pathsep.join([folder, *([present] if present else [])])}


def _versioned_rtx_library() -> Path | None:
    """The wheel's library if it lies there under a name with a version alone."""
    spec = importlib.util.find_spec(f"{RTX}_libs")
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        versioned = sorted(folder.glob(f"{_RTX_LIBRARY}.*"))
        if versioned and not (folder / _RTX_LIBRARY).exists():
            return versioned[0]
    return None


def make_logger(trt: TensorRT, write: Callable[[str, str], None]) -> Any:  # noqa: ANN401
    """A logger that hands on (severity, message), the severity as "ERROR" or "INTERNAL_ERROR"."""
    return _derived(trt.ILogger, log=lambda self, severity, message: write(severity.name, message))


def make_progress_monitor(
    trt: TensorRT,
    start: Callable[[str, str | None, int], None],
    step: Callable[[str, int], bool],
    finish: Callable[[str], None],
) -> Any:  # noqa: ANN401 - an IProgressMonitor
    """A monitor of a build, called from TensorRT's threads.

    Args:
        trt: the module.
        start: takes the name of a phase, that of the phase around it, and its number of steps.
        step: takes the name of a phase and the step that is done; False stops the build.
        finish: takes the name of a phase.
    """
    return _derived(
        trt.IProgressMonitor,
        phase_start=lambda self, name, parent, steps: start(name, parent, steps),
        step_complete=lambda self, name, done: step(name, done),
        phase_finish=lambda self, name: finish(name),
    )


def make_profiler(trt: TensorRT, report: Callable[[str, float], None]) -> Any:  # noqa: ANN401
    """A profiler that hands on (name, milliseconds) of every layer of a run, an IProfiler."""
    return _derived(trt.IProfiler, report_layer_time=lambda self, name, ms: report(name, ms))


def _derived(base: Any, **methods: Callable[..., Any]) -> Any:  # noqa: ANN401
    """An object of a class that overrides methods of one of TensorRT's."""
    # Its __init__ has to be called by the derived class itself.
    body = {"__init__": lambda self: base.__init__(self), **methods}
    return type(base.__name__, (base,), body)()


def network_flags(trt: TensorRT) -> int:
    """The flags of a strongly typed network with an explicit batch.

    11.x knows no other kind, 10.x has a flag for the types, whose number has changed since.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def precedence(trt: TensorRT) -> Precedence:
    """The rule of the ONNX parser of this version.

    A parser has no way to ask it, so each rule is known by what came with it: the flag that
    overrides it, or else the layers SQUEEZE and UNSQUEEZE.
    """
    if hasattr(trt.OnnxParserFlag, "ENABLE_PLUGIN_OVERRIDE"):
        return Precedence.ATTRIBUTE
    if hasattr(trt.LayerType, "SQUEEZE"):
        return Precedence.PLUGIN
    return Precedence.BODY


def plugin_creators(registry: Any) -> set[PluginId]:  # noqa: ANN401 - an IPluginRegistry
    """Every plugin that is registered."""
    for listing in ("all_creators_recursive", "all_creators", "plugin_creator_list"):
        creators = getattr(registry, listing, None)
        if creators is not None:
            return {PluginId(c.name, c.plugin_version, c.plugin_namespace) for c in creators}
    return set()


def plugin_of(trt: TensorRT, layer: Any) -> PluginId | None:  # noqa: ANN401 - an ILayer
    """Which plugin a layer of type PLUGIN_V3 is, or None where the version does not tell."""
    layer.__class__ = trt.IPluginV3Layer  # a network gives every layer as its base class
    core = layer.plugin.get_capability_interface(trt.PluginCapabilityType.CORE)
    # Older bindings hand over the interface's base class, which has none of its fields.
    if not hasattr(core, "plugin_name"):
        return None
    return PluginId(core.plugin_name, core.plugin_version, core.plugin_namespace)


def register_standard_plugins(trt: TensorRT, logger: Any) -> None:  # noqa: ANN401 - an ILogger
    """Register the plugins that come with the library, where it has any."""
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        register(logger, "")


def compute_capabilities(trt: TensorRT) -> dict[str, Any]:
    """What an engine can be built for on another machine, by names such as "8.6".

    Empty in TensorRT itself, which builds for the GPU that is there.
    """
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    numbers = {name: re.fullmatch(r"SM(\d+)(\d)", name) for name in members}
    return {f"{m[1]}.{m[2]}": members[name] for name, m in numbers.items() if m}


def set_compute_capabilities(trt: TensorRT, config: Any, wanted: list[str]) -> None:  # noqa: ANN401
    """Build for these compute capabilities alone.

    Raises:
        InputError: the library cannot build for one of them.
    """
    known = compute_capabilities(trt)
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        if capability not in known or not config.set_compute_capability(known[capability], index):
            raise InputError(
                f"{described(trt)} cannot build for compute capability {capability}",
                f"choose from {', '.join(known) or 'none: it builds for the GPU that is there'}",
            )


def device_memory_size(engine: Any) -> int:  # noqa: ANN401 - an ICudaEngine
    """Bytes of device memory that an execution context of the engine takes."""
    size = getattr(engine, "device_memory_size_v2", None)
    return int(engine.device_memory_size if size is None else size)


def allow_host_code(runtime: Any, allowed: bool) -> None:  # noqa: ANN401 - a Runtime
    """Let engines bring code for the host, such as plugin libraries, or not."""
    runtime.engine_host_code_allowed = allowed

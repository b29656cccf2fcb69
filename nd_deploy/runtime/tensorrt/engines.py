"""An engine for a model: the one that is kept, or one that is built now."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nd_deploy.bundle.files import sha256
from nd_deploy.compat import trt as compat
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.build import Host, build_engine, host_of
from nd_deploy.runtime.tensorrt.building.precision import require_precision
from nd_deploy.runtime.tensorrt.building.receipt import BuildReceipt
from nd_deploy.runtime.tensorrt.building.request import BuildRequest, check_request
from nd_deploy.runtime.tensorrt.building.typed_model import typed_model
from nd_deploy.runtime.tensorrt.facts import ModelFacts, read_facts
from nd_deploy.runtime.tensorrt.kept.engine_cache import EngineCache, Miss
from nd_deploy.runtime.tensorrt.kept.engine_file import StoredEngine, write_engine
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey
from nd_deploy.runtime.tensorrt.profile import canonical


@dataclass(frozen=True)
class Engine:
    """An engine on disk.

    Attributes:
        stored: where it is.
        receipt: how it was built.
        built: whether that was just now.
    """

    stored: StoredEngine
    receipt: BuildReceipt
    built: bool


def key_of(request: BuildRequest, facts: ModelFacts, host: Host) -> EngineKey:
    """What an engine as requested is built from and for.

    Args:
        request: what to build.
        facts: of its model.
        host: who builds it.

    Raises:
        MissingDependencyError: the library's installation is broken.
    """
    return EngineKey(
        model_sha256=facts.sha256,
        library=host.library,
        version=str(compat.load(host.library).__version__),
        device=host.device,
        compute_capability=host.compute_capability,
        precision=facts.precision,
        tf32=request.tf32,
        profiles=canonical(request.profiles),
        plugins=tuple(map(sha256, request.plugin_libraries)),
        flags=request.flags(),
    )


def engine_for(
    request: BuildRequest,
    output: Path | None = None,
    cache: EngineCache | None = None,
    rebuild: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Find the engine that is requested among those kept, or build it.

    Args:
        request: what to build.
        output: a file to build it into, whatever is kept; None keeps it in the cache.
        cache: of engines; None for the user's own.
        rebuild: build it even if it is kept.
        report: called with a line of text as it goes on, such as why it has to be built.

    Returns:
        The engine.

    Raises:
        NdDeployError: as of `build_engine`; or the output or the cache cannot be written.
    """
    check_request(request)
    with typed_model(request.model, request.precision) as model:
        typed = replace(request, model=model)
        return _engine_for(typed, output, cache or EngineCache(), rebuild, report)


def _engine_for(
    request: BuildRequest,
    output: Path | None,
    cache: EngineCache,
    rebuild: bool,
    report: Callable[[str], None],
) -> Engine:
    host = host_of(request)
    key = key_of(request, read_facts(request.model), host)
    if output is not None:
        _check_output(output)
    else:
        kept = None if rebuild else _kept(cache, key, report)
        if kept is not None:
            require_precision(request.precision, kept.receipt.precision)
            return kept
        cache.check_writable()
    if host.library == compat.TENSORRT and request.timing_cache is None:
        timings = cache.timing_cache_path(key.library, key.version, key.device)
        request = replace(request, timing_cache=timings)
    made = build_engine(request, report)
    fields = made.receipt.as_dict()
    stored = (
        cache.store(key, made.plan, fields)
        if output is None
        else write_engine(output, made.plan, key, fields)
    )
    return Engine(stored, made.receipt, built=True)


def _kept(cache: EngineCache, key: EngineKey, report: Callable[[str], None]) -> Engine | None:
    found = cache.find(key)
    if isinstance(found, Miss):
        for reason in found.reasons:
            report(f"building, because {reason}")
        return None
    try:
        receipt = BuildReceipt.from_dict(found.receipt)
    except (KeyError, TypeError, ValueError, AttributeError):
        report("building, because the engine kept says in other words how it was built")
        return None
    return Engine(found, receipt, built=False)


def _check_output(output: Path) -> None:
    """Refuse a file that could not be written, before anything takes minutes."""
    remedy = "choose a file in a folder that you may write to"
    if output.is_dir():
        raise InputError(
            f"--output {output} is a folder", f"name a file in it: {output}/NAME.engine"
        )
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"--output {output} cannot be written: {folder} is a file", remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"--output {output} cannot be written: {folder} is not writable", remedy)

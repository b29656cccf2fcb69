"""Builds one engine, in a process that may abort; the other side of `build` in this folder."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.building.config import configure
from nd_deploy.runtime.tensorrt.building.inspector import (
    ENGINE,
    NETWORK,
    inspect_engine,
    parse_information,
    require_types,
)
from nd_deploy.runtime.tensorrt.building.network import make_builder, parse
from nd_deploy.runtime.tensorrt.building.paths import LayerPath, read_paths, require_asked
from nd_deploy.runtime.tensorrt.building.plugins import register_plugins
from nd_deploy.runtime.tensorrt.building.precision import (
    LayerPrecision,
    main_precision,
    network_precisions,
    require_precision,
)
from nd_deploy.runtime.tensorrt.building.progress import Progress
from nd_deploy.runtime.tensorrt.building.receipt import BuildReceipt
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.building.timing import write_timing_cache
from nd_deploy.runtime.tensorrt.device import require_device
from nd_deploy.runtime.tensorrt.facts import ModelFacts, read_facts
from nd_deploy.runtime.tensorrt.log import Log
from nd_deploy.runtime.tensorrt.process import Report, serve

PLAN = "plan.engine"


def work(job: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Build the engine of a job, leave its plan in `folder`, and return its receipt's fields."""
    started = time.monotonic()
    request = BuildRequest.from_dict(job["request"])
    trt, log = compat.load(job["library"]), Log()
    logger = compat.make_logger(trt, log)
    if request.device:
        require_device(request.device)
    builder = make_builder(trt, logger)
    compat.register_standard_plugins(trt, logger)
    plugins = register_plugins(trt, request, log)
    facts = read_facts(request.model)
    report("parsing the model")
    network = parse(trt, builder, logger, facts, log)
    paths = _checked_paths(trt, network, facts, request)
    precision = main_precision(trt, network)
    require_precision(request.precision, precision)
    config, settings = configure(trt, builder, request, log, report)
    plan = _build(trt, builder, network, config, request, log, report)
    if request.timing_cache is not None:
        write_timing_cache(config, request.timing_cache)
    (folder / PLAN).write_bytes(plan)
    layers, layers_from = _layers(trt, network, logger, plan, request)
    receipt = BuildReceipt(
        library=trt.__name__,
        version=trt.__version__,
        model_sha256=facts.sha256,
        device=job["device"],
        compute_capability=job["compute_capability"],
        precision=precision,
        tf32=bool(config.get_flag(trt.BuilderFlag.TF32)),
        profiles=request.profiles,
        settings=settings,
        paths=paths,
        layers=tuple(layers),
        layers_from=layers_from,
        plugins=plugins,
        warnings=tuple(log.warnings()),
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        engine_bytes=len(plan),
        seconds=time.monotonic() - started,
    )
    return receipt.as_dict()


def _checked_paths(
    trt: TensorRT,
    network: Any,  # noqa: ANN401
    facts: ModelFacts,
    request: BuildRequest,
) -> tuple[LayerPath, ...]:
    paths = read_paths(trt, network, facts.nodes, request)
    registered = compat.plugin_creators(trt.get_plugin_registry())
    require_asked(trt, paths, facts.nodes, registered)
    return paths


def _build(
    trt: TensorRT,
    builder: Any,  # noqa: ANN401
    network: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    request: BuildRequest,
    log: Log,
    report: Report,
) -> bytes:
    progress, since = Progress(report), len(log.messages)
    monitor = compat.make_progress_monitor(trt, progress.start, progress.step, progress.finish)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is not None:
        return bytes(plan)
    said = f"{compat.described(trt)} builds no engine: {log.words(since)}"
    if "profile" in said:
        shapes = "; ".join(map(str, request.profiles)) or "none"
        raise InputError(
            f"{said} (the profiles are {shapes})",
            "give shapes that every layer of the model can take, with --batch and --shape",
        )
    raise BackendError(
        said,
        "if memory is short, give a smaller --workspace or --batch; otherwise try another version "
        "of TensorRT, and 'nd-deploy doctor' for what is here",
    )


def _layers(
    trt: TensorRT,
    network: Any,  # noqa: ANN401
    logger: Any,  # noqa: ANN401
    plan: bytes,
    request: BuildRequest,
) -> tuple[list[LayerPrecision], str]:
    """The precision of every layer, from the engine if it can be loaded here."""
    parsed = network_precisions(trt, network)
    text = inspect_engine(trt, logger, plan, request.embed_plugins)
    if text is None:
        return parsed, f"{NETWORK}: the engine cannot be loaded on this machine"
    built = parse_information(text)
    if not built:
        return parsed, f"{NETWORK}: {ENGINE} does not tell"
    require_types(built, parsed)
    return built, ENGINE


if __name__ == "__main__":
    serve(work)

"""Settings of a build: what was asked for, and what no version's default may decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.building.timing import read_timing_cache
from nd_deploy.runtime.tensorrt.log import Log
from nd_deploy.runtime.tensorrt.profile import Profile

_MIB = 2**20


def configure(
    trt: TensorRT,
    builder: Any,  # noqa: ANN401
    request: BuildRequest,
    log: Log,
    report: Callable[[str], object],
) -> tuple[Any, dict[str, str]]:
    """Make the settings of a build.

    Args:
        trt: the module.
        builder: to make them with.
        request: what is asked for.
        log: of TensorRT's messages.
        report: told what is worth knowing.

    Returns:
        An IBuilderConfig, and what was set by name, in words.

    Raises:
        InputError: the library does not have a setting, or refuses a profile.
    """
    config = builder.create_builder_config()
    # Off by default here: TensorRT would compute float32 with ten bits of mantissa.
    (config.set_flag if request.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    # Else the engine does not tell which types its layers have.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    settings = {"strongly_typed": "on"}
    if request.workspace_mib is not None:
        limit = request.workspace_mib * _MIB
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
        settings["workspace"] = f"{request.workspace_mib} MiB"
    if request.optimization_level is not None:
        config.builder_optimization_level = request.optimization_level
        settings["optimization_level"] = str(request.optimization_level)
    if request.compute_capabilities:
        compat.set_compute_capabilities(trt, config, list(request.compute_capabilities))
    if request.embed_plugins:
        config.plugins_to_serialize = list(map(str, request.plugin_libraries))
    if request.timing_cache is not None:
        settings["timing_cache"] = read_timing_cache(config, request.timing_cache, report)
    for profile in request.profiles:
        _add_profile(builder, config, profile, log)
    return config, settings


def _add_profile(builder: Any, config: Any, profile: Profile, log: Log) -> None:  # noqa: ANN401
    since = len(log.messages)
    made = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in profile.shapes.items():
        made.set_shape(name, smallest, usual, largest)
    if config.add_optimization_profile(made) < 0:
        raise InputError(
            f"TensorRT refuses the profile {profile}: {log.words(since)}",
            "give other shapes with --batch or --shape",
        )

"""What lies in the user's folders: kept engines, plugin libraries, and what builds one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from nd_deploy.doctor.facts import EngineCache, Plugin
from nd_deploy.errors import NdDeployError


def engine_cache() -> EngineCache:
    """The folder of engines, and whether something can be kept there; nothing is made."""
    from nd_deploy.cache import ENVIRONMENT
    from nd_deploy.runtime.tensorrt.kept.engine_cache import default_folder

    try:
        folder = default_folder()
    except NdDeployError as error:
        return EngineCache(problem=error.problem, remedy=error.remedy)
    sizes = list(_sizes(folder))
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return EngineCache(
        str(folder),
        len(sizes),
        sum(sizes),
        None if writable else f"{nearest} is not writable",
        None if writable else f"set {ENVIRONMENT} to a folder that you may write to",
    )


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        # Another process may remove an engine meanwhile.
        with contextlib.suppress(OSError):
            if path.is_file():
                yield path.stat().st_size


def plugin_libraries() -> tuple[Plugin, ...]:
    """The libraries built here and the one that the environment names, loaded elsewhere."""
    return tuple(map(_look_at, _paths()))


def why_no_plugin_build() -> tuple[str, str] | None:
    """Why the plugin library cannot be built here, and the remedy; None if it can."""
    from nd_deploy.plugins.toolchain import find_toolchain

    try:
        find_toolchain()
    except NdDeployError as error:
        return error.problem, error.remedy
    return None


def _paths() -> Iterator[Path]:
    from nd_deploy.plugins.library import ENVIRONMENT, built_libraries

    named = os.environ.get(ENVIRONMENT)
    if named:
        yield Path(named)
    try:
        yield from built_libraries()
    except NdDeployError:
        return  # there is no home folder, which the engine cache tells


def _look_at(path: Path) -> Plugin:
    from nd_deploy.plugins.check import check_library

    try:
        report = check_library(path, hosts=())
    except NdDeployError as error:
        return Plugin(str(path), problem=error.problem, remedy=error.remedy)
    receipt, problem = report.library.receipt, next(iter(report.problems), None)
    return Plugin(
        path=str(path),
        ops=tuple(plugin[0] for plugin in report.plugins),
        headers=receipt and receipt.headers,
        nvcc=receipt and receipt.nvcc,
        archs=receipt.archs if receipt else (),
        ptx=receipt and receipt.ptx,
        self_register=bool(receipt and receipt.self_register),
        problem=problem and problem.what,
        remedy=problem and problem.remedy,
    )

"""Builds the plugin library for this GPU, and loads it into whatever TensorRT is installed."""

from __future__ import annotations

import sys
from pathlib import Path

from gpu.device import HEADERS_VARIABLE, compute_capability, require_cuda
from gpu.parts import FAILED, OK, WRONG, CannotRun, Row, Settings, require_right
from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.plugins import build_library, check_library
from nd_deploy.plugins.build import BuildOptions

LIBRARY, SELF_REGISTERING = "library", "self-registering"


def run(settings: Settings) -> list[Row]:
    """One row a build: the library, and who took it."""
    capability = compute_capability(require_cuda())
    rows = [build(what, capability, settings) for what in (LIBRARY, SELF_REGISTERING)]
    require_right(rows, lambda row: str(row["what"]))
    return rows


def build(what: str, capability: str, settings: Settings) -> Row:
    """Build one of the libraries, and load it.

    Raises:
        CannotRun: a compiler or the headers are missing.
    """
    options = BuildOptions(
        headers=Path(settings.headers) if settings.headers else None,
        archs=(capability,),
        self_register=what == SELF_REGISTERING,
    )
    try:
        built = build_library(Path(settings.folder) / "plugin", options, _say)
        report = check_library(built.path)
    except (MissingDependencyError, InputError) as error:
        raise CannotRun(
            f"{error.problem}; {error.remedy}; or give --headers or {HEADERS_VARIABLE}"
        ) from error
    except BackendError as error:
        return {"what": what, "status": FAILED, "reason": error.problem}
    receipt = built.receipt.as_dict() if built.receipt else {}
    return {
        "what": what,
        "path": str(built.path),
        "sha256": built.sha256,
        "headers": receipt.get("headers", ""),
        "nvcc": receipt.get("nvcc", ""),
        "plugins": [plugin[0] for plugin in report.plugins],
        "taken by": ", ".join(f"{host} {version}" for host, version in report.hosts.items()),
        "status": WRONG if report.problems else OK,
        "reason": "; ".join(problem.what for problem in report.problems),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr)

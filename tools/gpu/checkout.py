"""Makes nd_deploy of this checkout importable where it is not installed.

Two of its packages lie outside of its folder until it is installed, so that a path alone does not
do: a temporary folder of links looks like the installed package.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OUTSIDE = ("models", "plugins")


@contextlib.contextmanager
def importable(root: Path = ROOT) -> Iterator[None]:
    """Let this process, and those that it starts, import nd_deploy."""
    if is_whole():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        link(root, Path(folder) / "nd_deploy")
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *([before] if before else [])])
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(folder)
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def is_whole() -> bool:
    """Whether nd_deploy is installed with all of its packages."""
    try:
        return all(importlib.util.find_spec(f"nd_deploy.{name}") for name in _OUTSIDE)
    except ModuleNotFoundError:
        sys.modules.pop("nd_deploy", None)
        return False


def link(root: Path, package: Path) -> None:
    """Fill a folder with links to all that the installed package holds."""
    package.mkdir()
    inside = [path for path in (root / "nd_deploy").iterdir() if path.name != "__pycache__"]
    for path in [*inside, *(root / name for name in _OUTSIDE)]:
        (package / path.name).symlink_to(path)

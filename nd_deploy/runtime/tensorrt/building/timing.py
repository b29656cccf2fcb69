"""A file of what earlier builds measured, so that the next one measures less."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nd_deploy.bundle.files import why_not_written
from nd_deploy.errors import InputError

Config = Any  # an IBuilderConfig


def read_timing_cache(config: Config, path: Path, report: Callable[[str], object]) -> str:
    """Let a build use the measurements in a file, if they are this library's and this GPU's.

    Args:
        config: of the build.
        path: the file, which need not exist.
        report: told if the file is of no use here.

    Returns:
        What became of it: "read", "new" or "rebuilt".

    Raises:
        InputError: the file cannot be read.
    """
    try:
        known = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(
            f"--timing-cache {path} cannot be read: {error.strerror}", "name another file"
        ) from error
    if known and _use(config, known):
        return "read"
    config.set_timing_cache(config.create_timing_cache(b""), False)
    if not known:
        return "new"
    report(
        f"the timing cache {path} is of another version or another GPU, or corrupt: "
        "everything is measured anew"
    )
    return "rebuilt"


def write_timing_cache(config: Config, path: Path) -> None:
    """Keep what a build has measured; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    measured = bytes(config.get_timing_cache().serialize())
    new = path.with_name(f".nd-deploy-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_bytes(measured)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        reason, remedy = why_not_written(error, len(measured))
        raise InputError(f"--timing-cache {path} cannot be written: {reason}", remedy) from error


def _use(config: Config, known: bytes) -> bool:
    """Whether a cache fits; one that does not may come back as None, as empty, or be refused."""
    empty = bytes(config.create_timing_cache(b"").serialize())
    cache = config.create_timing_cache(known)
    if cache is None or (known != empty and bytes(cache.serialize()) == empty):
        return False
    return bool(config.set_timing_cache(cache, False))

"""Engines kept between runs, so that none is built twice and none is used for something else.

An entry is a plan and its record, named after the model, the key and the plan. Two processes that
store engines of one key thus never write different bytes to one file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nd_deploy.cache import ENVIRONMENT, cache_folder
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.kept.engine_file import (
    StoredEngine,
    read_engine,
    record_path,
    recorded_key,
    write_engine,
)
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey

_PLAN = ".engine"
_REMEDY = f"set {ENVIRONMENT} to a folder that you may write to"


@dataclass(frozen=True)
class Miss:
    """Why no engine of a key is kept.

    Attributes:
        reasons: a sentence each.
    """

    reasons: tuple[str, ...]


class EngineCache:
    """A folder of engines.

    Args:
        folder: where; None for `default_folder()`. It is made when something is stored.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)

    def find(self, key: EngineKey) -> StoredEngine | Miss:
        """Look for an engine of exactly this key.

        Args:
            key: of the engine wanted.

        Returns:
            The engine, whose plan is the one that was stored, or why there is none: that none of
            this model is kept, in what the nearest one differs, or that an entry is corrupt.
        """
        corrupt = []
        for plan in self._entries(f"{_name(key)}-"):
            found = _read(plan, key)
            if isinstance(found, StoredEngine):
                return found
            corrupt.append(found)
        return Miss(tuple(corrupt) or self._nearest(key))

    def store(self, key: EngineKey, plan: bytes, receipt: Mapping[str, Any]) -> StoredEngine:
        """Keep an engine, and remove corrupt ones of its key.

        Args:
            key: what it was built from and for.
            plan: the serialised engine.
            receipt: how it was built, JSON-ready.

        Raises:
            InputError: the folder cannot be written.
        """
        self.check_writable()
        path = self.folder / f"{_name(key)}-{hashlib.sha256(plan).hexdigest()[:16]}{_PLAN}"
        with self._locked():
            stored = write_engine(path, plan, key, receipt)
            for entry in self._entries(f"{_name(key)}-"):
                if not isinstance(_read(entry, key), StoredEngine):
                    _remove(entry)
        return stored

    def timing_cache_path(self, library: str, version: str, device: str) -> Path:
        """Where to keep what the builder measured, which holds for one library and one GPU.

        Args:
            library: "tensorrt" or "tensorrt_rtx".
            version: its version.
            device: the GPU's name.

        Returns:
            A file in a folder that exists; the file itself may not.

        Raises:
            InputError: the folder cannot be written.
        """
        self.check_writable()
        name = re.sub(r"[^a-z0-9.]+", "-", f"{library}-{version}-{device}".lower())
        return self.folder / f"{name.strip('-')}.timing"

    def check_writable(self) -> None:
        """Make the folder, before any work whose result is to be stored in it.

        Raises:
            InputError: it cannot be made or written.
        """
        try:
            # Whoever can write an engine decides what is run by whoever loads it.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the engine cache {self.folder} cannot be made: {error.strerror}", _REMEDY
            ) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise InputError(f"the engine cache {self.folder} is not writable", _REMEDY)

    def _nearest(self, key: EngineKey) -> tuple[str, ...]:
        nearest: list[str] = []
        for plan in self._entries(f"{_model(key)}-"):
            with contextlib.suppress(InputError):  # one of another key, which is not asked about
                differences = recorded_key(plan).differences(key)
                if not nearest or len(differences) < len(nearest):
                    nearest = [
                        f"the nearest engine kept differs: {difference}"
                        for difference in differences
                    ]
        return tuple(nearest) or ("no engine of this model is kept yet",)

    def _entries(self, prefix: str) -> list[Path]:
        """The plans whose names begin so; a plan without a record is still being written."""
        ending = f"{_PLAN}.json"
        return [
            record.with_name(record.name.removesuffix(".json"))
            for record in sorted(self.folder.glob(f"{prefix}*{ending}"))
        ]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep two processes from removing as corrupt what the other has just mended."""
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context((self.folder / ".lock").open("a"))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                raise InputError(
                    f"the engine cache {self.folder} cannot be locked: {error.strerror}", _REMEDY
                ) from error
            yield


def default_folder() -> Path:
    """Where engines are kept unless told otherwise; see `nd_deploy.cache.cache_folder`."""
    return cache_folder("engines")


def _read(plan: Path, key: EngineKey) -> StoredEngine | str:
    """The engine if the entry is whole and of that key, or what is wrong with it."""
    try:
        stored = read_engine(plan)
    except InputError as error:
        return f"an entry is corrupt: {error.problem}"
    if stored.key != key:
        return f"an entry is corrupt: {plan} holds an engine of another key"
    return stored


def _remove(plan: Path) -> None:
    # One that cannot be removed stays, and is refused again.
    with contextlib.suppress(OSError):
        record_path(plan).unlink(missing_ok=True)
        plan.unlink(missing_ok=True)


def _model(key: EngineKey) -> str:
    return key.model_sha256[:16]


def _name(key: EngineKey) -> str:
    return f"{_model(key)}-{key.digest()[:16]}"

"""An engine on disk: the plan, and beside it what it was built from and its hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.files import readable_size, sha256, why_not_written
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.kept.engine_key import SCHEMA_VERSION, EngineKey

KIND = "nd-deploy engine"
REBUILD = "build it again: nd-deploy build"
_AGAIN = f"copy both files again from where they are whole, or {REBUILD}"


@dataclass(frozen=True)
class StoredEngine:
    """An engine on disk whose plan is the one that was written.

    Attributes:
        plan_path: the serialised engine.
        key: what it was built from and for; None if another tool built it and left no record.
        receipt: how it was built, as JSON gives it.
        sha256: the hash of the plan.
    """

    plan_path: Path
    key: EngineKey | None
    receipt: Mapping[str, Any]
    sha256: str

    def read(self) -> bytes:
        """Read the plan.

        Raises:
            InputError: it is gone, or no longer the one of that hash.
        """
        try:
            plan = self.plan_path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.plan_path} cannot be read: {error.strerror}", REBUILD
            ) from error
        if hashlib.sha256(plan).hexdigest() != self.sha256:
            raise InputError(f"{self.plan_path} has changed since it was opened", _AGAIN)
        return plan


class _Record(NamedTuple):
    key: EngineKey
    receipt: Mapping[str, Any]
    sha256: str
    size: int


def record_path(plan_path: Path) -> Path:
    """The file beside a plan that says what it is."""
    return plan_path.with_name(f"{plan_path.name}.json")


def write_engine(
    path: Path | str, plan: bytes, key: EngineKey, receipt: Mapping[str, Any]
) -> StoredEngine:
    """Write an engine; each of its two files appears whole or not at all.

    An interruption between the two leaves a plan that `read_engine` refuses.

    Args:
        path: of the plan; its record gets that name with ".json" after it. Both are replaced if
            they are there, and the folder is made as needed.
        plan: the serialised engine.
        key: what it was built from and for.
        receipt: how it was built, JSON-ready.

    Returns:
        What `read_engine` gives.

    Raises:
        InputError: the files cannot be written: a full disk, a missing permission.
    """
    path = Path(path)
    digest = hashlib.sha256(plan).hexdigest()
    record = strict_json.dumps(
        {
            "kind": KIND,
            "schema": SCHEMA_VERSION,
            "key": key.as_dict(),
            "receipt": dict(receipt),
            "plan": {"sha256": digest, "size": len(plan)},
        }
    ).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, plan)
        _replace(record_path(path), record)
    except OSError as error:
        reason, remedy = why_not_written(error, len(plan) + len(record))
        raise InputError(f"{path} cannot be written: {reason}", remedy) from error
    return StoredEngine(path, key, dict(receipt), digest)


def read_engine(path: Path | str, trust_unrecorded: bool = False) -> StoredEngine:
    """Read what is recorded of an engine, and make sure that its plan is the one recorded.

    Args:
        path: of the plan.
        trust_unrecorded: accept a plan of another tool, of which nothing is recorded. An engine
            is code: whoever made the file decides what is run.

    Returns:
        The engine; its `key` is None only if nothing is recorded.

    Raises:
        InputError: the plan or its record is missing, malformed, something else's, from a newer
            nd-deploy, or the plan has changed since it was written.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {kind}", "name the engine that 'nd-deploy build' wrote")
    fields = _read_record(path, trust_unrecorded)
    if fields is None:
        return StoredEngine(path, None, {}, sha256(path))
    recorded = _parse(path, fields)
    _check_plan(path, recorded.sha256, recorded.size)
    return StoredEngine(path, recorded.key, recorded.receipt, recorded.sha256)


def recorded_key(path: Path) -> EngineKey:
    """Read the key of an engine without looking at its plan, which may be large.

    Args:
        path: of the plan.

    Raises:
        InputError: the record is missing, malformed, something else's or from a newer nd-deploy.
    """
    fields = _read_record(path, trust_unrecorded=False)
    return _parse(path, fields or {}).key


def check_engine(stored: StoredEngine, wanted: EngineKey) -> None:
    """Refuse an engine from elsewhere that is not the one wanted here.

    An engine of which nothing is recorded passes: reading it took the user's word for it.

    Args:
        stored: the engine.
        wanted: the key that an engine for this model, this GPU and these options has.

    Raises:
        BackendError: the engine differs; it says in what.
    """
    reasons = [] if stored.key is None else stored.key.misfits(wanted)
    if reasons:
        raise BackendError(
            f"the engine {stored.plan_path} does not fit: {'; '.join(reasons)}",
            f"{REBUILD} for this model, this GPU and these options, or name the engine that was "
            "built for them",
        )


def _read_record(path: Path, trust_unrecorded: bool) -> dict[str, Any] | None:
    record = record_path(path)
    trust = "if you trust where it comes from, pass --trust-unrecorded; otherwise build it again"
    try:
        fields = strict_json.read(record)
    except FileNotFoundError as error:
        if trust_unrecorded:
            return None
        raise InputError(
            f"{path} has no {record.name} beside it: nothing says what it was built from",
            f"copy {record.name} as well; an engine of another tool has none: {trust}",
        ) from error
    except OSError as error:
        raise InputError(f"{record} cannot be read: {error.strerror}", _AGAIN) from error
    except ValueError as error:
        raise InputError(f"{record} is malformed: {error}", _AGAIN) from error
    if fields.get("kind") == KIND:
        return fields
    if trust_unrecorded:
        return None
    raise InputError(f"{record} is something else's, so nothing is known of {path}", trust)


def _parse(path: Path, fields: Mapping[str, Any]) -> _Record:
    schema = fields.get("schema")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer nd-deploy (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION})",
            "pip install --upgrade nd-deploy, or build the engine again with this one",
        )
    try:
        plan = fields["plan"]
        return _Record(
            EngineKey.from_dict(fields["key"]),
            dict(fields["receipt"]),
            str(plan["sha256"]),
            int(plan["size"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{record_path(path)} is malformed: {error}", _AGAIN) from error


def _check_plan(path: Path, digest: str, size: int) -> None:
    found = path.stat().st_size
    if found != size:
        raise InputError(
            f"{path} has {readable_size(found)} ({found}) but was written with "
            f"{readable_size(size)} ({size}): it is truncated or another file",
            _AGAIN,
        )
    if sha256(path) != digest:
        raise InputError(f"{path} has changed since it was written", _AGAIN)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".nd-deploy-{secrets.token_hex(8)}")
    try:
        with new.open("xb") as file:
            file.write(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)

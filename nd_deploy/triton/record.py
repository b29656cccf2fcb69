"""What a repository says about itself, in a file that Triton does not read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nd_deploy.bundle import Bundle, strict_json
from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.overwrite import why_not_replaced
from nd_deploy.errors import InputError

RECORD = "nd_manifest.json"
KIND = "nd-deploy Triton repository"
SCHEMA_VERSION = 1

_AGAIN = "export it again, or choose another folder"


def write_record(folder: Path, bundle: Bundle, facts: Mapping[str, Any]) -> Path:
    """Write down what a repository was made from, with the hash of every file in it.

    Args:
        folder: of the repository, complete but for this file.
        bundle: that it was made from.
        facts: of the export, JSON-ready.

    Returns:
        The file.
    """
    from nd_deploy import __version__

    manifest = bundle.manifest
    source = {
        "network": manifest.network,
        "created": manifest.created,
        "model_sha256": manifest.files["model.onnx"],
        "reference_sha256": manifest.files["reference.npz"],
        "precision": manifest.precision,
        "target": manifest.target,
        "nd_layers": manifest.nd_layers,
        "batch_dependent": manifest.batch_dependent,
        "versions": manifest.versions,
    }
    path = folder / RECORD
    record = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "nd_deploy": __version__,
        "bundle": source,
        "files": {name: sha256(folder / name) for name in files_in(folder)},
        **facts,
    }
    path.write_text(strict_json.dumps(record), encoding="utf-8")
    return path


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a repository.

    Raises:
        InputError: there is none, or it is malformed, something else's or of a newer nd-deploy.
    """
    path = folder / RECORD
    try:
        record = strict_json.read(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", _AGAIN) from error
    files, schema = record.get("files"), record.get("schema_version")
    if record.get("kind") != KIND or not isinstance(files, dict) or not isinstance(schema, int):
        raise InputError(f"{path} is no record of an export", _AGAIN)
    if schema > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer nd-deploy (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION})",
            "pip install --upgrade nd-deploy",
        )
    return record


def files_in(folder: Path) -> list[str]:
    """The files of a repository but its record, by their paths in it."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path != folder / RECORD
    )


def check_output(output: Path, overwrite: bool) -> None:
    """Make sure, before any work, that a repository may be written to `output`.

    Raises:
        InputError: it exists and is not to be overwritten, is no repository of an export, or holds
            files that no export wrote, such as engines that were built there.
    """
    refusal = why_not_replaced(output, overwrite, "repository", RECORD, _top_level)
    if refusal is None and (output / RECORD).is_file():
        foreign = sorted(set(files_in(output)) - set(read_record(output)["files"]))
        if foreign:
            refusal = (
                f"{output} holds files that are not the repository's: {', '.join(foreign[:3])}",
                "move them away first, or choose another folder",
            )
    if refusal is not None:
        raise InputError(*refusal)


def _top_level(folder: Path) -> Iterable[str]:
    return {str(name).split("/")[0] for name in read_record(folder)["files"]}

"""Reads the files that trtexec writes, each of which is JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nd_deploy.errors import InputError


def read_json(path: Path, flag: str) -> Any:  # noqa: ANN401 - whatever it holds
    """What a file of trtexec's holds.

    Args:
        path: the file.
        flag: that trtexec wrote it for.

    Raises:
        InputError: it is missing, empty, cut off, or no JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refused(path, flag, str(error)) from error
    if not text.strip():
        raise refused(path, flag, "it is empty")
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise refused(path, flag, f"it is no JSON, or is cut off: {error}") from error


def list_of_objects(value: object, path: Path, flag: str) -> list[Mapping[str, Any]]:
    """A list of JSON objects.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise refused(path, flag, "it is no list of objects")
    return value


def refused(path: Path, flag: str, reason: str) -> InputError:
    """That a file cannot be used."""
    return InputError(
        f"{path} cannot be read as what trtexec writes for {flag}: {reason}",
        f"give the file that trtexec wrote for {flag}, once it had ended without an error",
    )


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")

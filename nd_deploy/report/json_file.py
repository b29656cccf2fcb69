"""A measurement as JSON, which holds the whole of it, and back."""

from __future__ import annotations

import json
from pathlib import Path

from nd_deploy.bundle import strict_json
from nd_deploy.errors import InputError
from nd_deploy.profiling.results import KIND, SCHEMA_VERSION, Profile

_DIGITS = 6
_LONGEST_WORD = len("-Infinity")
_WRITTEN = "name a .json file that 'nd-deploy profile --export' wrote"
_AGAIN = "copy it again from where it is whole, or measure again"


def document(profile: Profile) -> dict[str, object]:
    """A measurement as JSON-ready fields, which profile.schema.json describes.

    Args:
        profile: the measurement.

    Returns:
        Its `as_dict`, with floats to six digits, since a clock that counts nanoseconds gives no
        more of a millisecond. Whole numbers, such as counts of operations, keep all of theirs.
    """
    return {name: _rounded(value) for name, value in profile.as_dict().items()}


def to_json(profile: Profile) -> str:
    """A measurement as the text of a JSON file."""
    return strict_json.dumps(document(profile))


def read_profile(path: Path) -> Profile:
    """Read a measurement that was exported as JSON.

    Args:
        path: the file.

    Returns:
        The measurement.

    Raises:
        InputError: it is missing, cannot be read, is cut off, holds something else, or was written
            by a newer nd-deploy.
    """
    fields = _read(path)
    if fields.get("kind") != KIND:
        raise InputError(f"{path} holds no measurement of nd-deploy", _WRITTEN)
    schema = fields.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer nd-deploy (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION})",
            "pip install --upgrade nd-deploy",
        )
    try:
        return Profile.from_dict(fields)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is malformed: {error}", _AGAIN) from error


def _read(path: Path) -> dict[str, object]:
    try:
        return strict_json.read(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", _WRITTEN) from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder", _WRITTEN) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", _WRITTEN) from error
    except json.JSONDecodeError as error:
        if _is_cut_off(error):
            length = len(error.doc)
            raise InputError(f"{path} is cut off after {length} characters", _AGAIN) from error
        raise InputError(f"{path} holds no JSON: {error}", _WRITTEN) from error
    except ValueError as error:
        raise InputError(f"{path} holds no measurement of nd-deploy: {error}", _WRITTEN) from error


def _is_cut_off(error: json.JSONDecodeError) -> bool:
    """Whether an object makes sense until it ends, in the middle of a string or a word too."""
    left = len(error.doc.rstrip()) - error.pos
    begun = error.doc.startswith("{") and error.msg != "Extra data"
    return begun and (left <= _LONGEST_WORD or error.msg.startswith("Unterminated"))


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float) and not value.is_integer():
        return float(f"{value:.{_DIGITS}g}")
    return value

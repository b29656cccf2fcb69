"""Reads the fields of a JSON object, and says which one is not what it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from nd_deploy.bundle import strict_json

T = TypeVar("T")


def required(fields: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field of a type.

    Raises:
        ValueError: it is missing or of another type.
    """
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, and not {kind.__name__}")
    return value


def optional(fields: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """A field of a type, or null, or nothing; raises as `required`."""
    return None if fields.get(name) is None else required(fields, name, kind)


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false.

    Raises:
        ValueError: it is missing, or neither.
    """
    value = fields.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, and not true or false")
    return value


def number(fields: Mapping[str, Any], name: str) -> float:
    """A field that is a number, finite or not.

    Raises:
        ValueError: it is missing or none.
    """
    try:
        return strict_json.number(fields.get(name))
    except ValueError as error:
        raise ValueError(f"{name} is {fields.get(name)!r}, and no number") from error


def optional_number(fields: Mapping[str, Any], name: str) -> float | None:
    """A field that is a number, or null, or nothing; raises as `number`."""
    return None if fields.get(name) is None else number(fields, name)

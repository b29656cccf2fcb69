"""YAML for people to read: block style, and quotes around whatever a reader could mistake.

What is written is plain mappings, lists, text, numbers and booleans, of which YAML needs a page;
a library that reads all of YAML would be a dependency for that page, and could not write comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

Value: TypeAlias = Union[str, int, bool, "Mapping[str, Value]", "Sequence[Value]"]

# Beginning with a letter or "/", it is no number and no date. The words are YAML 1.1's too.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


def dumps(document: Mapping[str, Value], comment: str = "") -> str:
    """Write a document.

    Args:
        document: of which every mapping and list holds something.
        comment: lines to stand above it.

    Returns:
        The text, ending in a newline.
    """
    heading = [f"# {line}".rstrip() for line in comment.splitlines()]
    return "\n".join([*heading, *_mapping(document, "")]) + "\n"


def _mapping(fields: Mapping[str, Value], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        key = f"{indent}{_scalar(name)}:"
        if isinstance(value, Mapping):
            yield key
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, str | int):
            yield f"{key} {_scalar(value)}"
        else:
            yield key
            yield from _list(value, indent + "  ")


def _list(items: Sequence[Value], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping):
            first, *rest = _mapping(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        elif isinstance(item, str | int):
            yield f"{indent}- {_scalar(item)}"
        else:
            raise TypeError(f"a list in a list is not written: {item!r}")


def _scalar(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (_PLAIN.fullmatch(value) and value.lower() not in _WORDS):
        return str(value)
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(sign: str) -> str:
    """A sign in double quotes: as in JSON, but for those that JSON writes as two."""
    return f"\\U{ord(sign):08x}" if sign > "\uffff" else json.dumps(sign)[1:-1]

"""Reads the values that users write after --option KEY=."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from nd_deploy.errors import InputError

# Takes what was written, and raises ValueError with what should have been.
Reader: TypeAlias = Callable[[str], Any]

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_WORDS = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}


def read_values(
    readers: Mapping[str, Reader],
    given: Mapping[str, str],
    elsewhere: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Read options.

    Args:
        readers: by the name of each option that there is.
        given: what was written, by name.
        elsewhere: by name, how an option that is not set so is set.

    Returns:
        The values, by name.

    Raises:
        InputError: there is no such option, it is set otherwise, or its value makes no sense.
    """
    values = {}
    for name, text in given.items():
        if name in (elsewhere or {}):
            raise InputError(f"{name} is not set by --option", f"use {(elsewhere or {})[name]}")
        if name not in readers:
            raise InputError(
                f"this runtime has no option {name!r}", f"choose from {', '.join(sorted(readers))}"
            )
        try:
            values[name] = readers[name](text)
        except ValueError as error:
            raise InputError(f"--option {name}={text} makes no sense", f"give {error}") from None
    return values


def size(text: str) -> int:
    """A number of bytes; it may end in KiB, MiB, GiB, KB, MB or GB."""
    found = re.fullmatch(r"([0-9]+) *([A-Z]*)", text.upper())
    if found is None or found[2] not in _UNITS or not int(found[1]):
        raise ValueError("a number of bytes, such as 4GiB")
    return int(found[1]) * _UNITS[found[2]]


def switch(text: str) -> bool:
    """Whether it is on."""
    if text.lower() not in _WORDS:
        raise ValueError("on or off")
    return _WORDS[text.lower()]


def whole(least: int, most: int) -> Reader:
    """A reader of whole numbers in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def one_of(*words: str) -> Reader:
    """A reader of one of several words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return read


def path(text: str) -> Path:
    """A file or a folder."""
    if not text:
        raise ValueError("a path")
    return Path(text).expanduser().absolute()

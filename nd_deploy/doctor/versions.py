"""Version numbers, compared as far as both are known."""

from __future__ import annotations

import re
from collections.abc import Mapping


def major(version: str | None) -> str:
    """The first number of a version; empty if there is none."""
    return (version or "").split(".")[0]


def newer(version: str | None, other: str | None) -> bool:
    """Whether a version is newer than another; False where either is unknown."""
    return bool(version and other) and _numbers(version) > _numbers(other)


def cuda_flavour(packages: Mapping[str, str]) -> str | None:
    """The major version of CUDA that the installed wheel of TensorRT is for, such as "13"."""
    found = (re.fullmatch(r"tensorrt-cu(\d+)", name) for name in packages)
    return next((match[1] for match in found if match), None)


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version or "")))

"""Optimisation profiles: the shapes that an engine is built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from nd_deploy.errors import InputError

Shape: TypeAlias = tuple[int, ...]

_FORM = "MIN:OPT:MAX"


class Range(NamedTuple):
    """The smallest, the usual and the largest shape of one input, or size of one axis each."""

    min: Shape
    opt: Shape
    max: Shape

    def __str__(self) -> str:
        return ":".join("x".join(map(str, shape)) for shape in self)


@dataclass(frozen=True)
class Profile:
    """One optimisation profile.

    Attributes:
        shapes: the range of each input that has an open axis.
    """

    shapes: Mapping[str, Range]

    def __str__(self) -> str:
        """The profile in canonical text, such as "input=1x3x8x8:2x3x8x8:4x3x8x8"."""
        return ",".join(f"{name}={shapes}" for name, shapes in sorted(self.shapes.items()))

    def as_dict(self) -> dict[str, list[list[int]]]:
        """The profile as JSON-ready fields."""
        return {name: [list(shape) for shape in shapes] for name, shapes in self.shapes.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Sequence[Sequence[int]]]) -> Profile:
        """The inverse of `as_dict`."""
        return cls({name: Range(*map(tuple, shapes)) for name, shapes in fields.items()})


def canonical(profiles: Sequence[Profile]) -> str:
    """Profiles in one text, the same for the same profiles."""
    return ";".join(map(str, profiles))


def parse_batch(text: str) -> Range:
    """Read "1:8:32", or "8" for all three.

    Raises:
        InputError: it is something else, or the three are not in order.
    """
    return _parse(text, f"--batch {text}", "write it as 1:8:32, or as 8 for that batch alone", 1)


def parse_shape(text: str) -> tuple[str, Range]:
    """Read "input=1x3x64x64:8x3x64x64:32x3x64x64", or one shape for all three.

    Raises:
        InputError: it is something else, or the three are not in order.
    """
    flag = f"--shape {text}"
    remedy = "write it as input=1x3x224x224:8x3x224x224:32x3x512x512, with the batch"
    name, equals, shapes = text.rpartition("=")
    if not equals or not name:
        raise InputError(f"{flag} names no input", remedy)
    return name, _parse(shapes, flag, remedy)


def _parse(text: str, flag: str, remedy: str, axes: int | None = None) -> Range:
    try:
        shapes = [tuple(map(int, shape.lower().split("x"))) for shape in text.split(":")]
    except ValueError as error:
        raise InputError(f"{flag} is no {_FORM}", remedy) from error
    if len(shapes) == 1:
        shapes *= 3
    ranks = set(map(len, shapes))
    if len(shapes) != 3 or len(ranks) != 1 or (axes and ranks != {axes}):
        raise InputError(f"{flag} is no {_FORM}", remedy)
    if min(map(min, shapes)) < 1:
        raise InputError(f"{flag} has a size under 1", "give sizes of at least 1")
    found = Range(*shapes)
    for low, usual, high in zip(*found, strict=True):
        if not low <= usual <= high:
            raise InputError(
                f"{flag} is out of order: {low}:{usual}:{high} is not {_FORM}",
                "give the smallest first, then the one to be fastest at, then the largest",
            )
    return found

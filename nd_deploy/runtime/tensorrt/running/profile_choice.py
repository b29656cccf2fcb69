"""Which of an engine's optimisation profiles takes some shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.kept.engine_file import REBUILD
from nd_deploy.runtime.tensorrt.profile import Shape
from nd_deploy.runtime.tensorrt.running.engine_facts import EngineFacts


def choose_profile(
    facts: EngineFacts, shapes: Mapping[str, Shape], asked: int | None = None
) -> int:
    """Choose a profile that takes some shapes.

    Args:
        facts: of the engine.
        shapes: of every input, by name.
        asked: the profile to use; None for the one whose usual shapes are the nearest.

    Returns:
        Its index.

    Raises:
        InputError: no profile takes the shapes, or not the one asked for.
    """
    allowed = range(facts.profiles) if asked is None else (asked,)
    fitting = [index for index in allowed if _takes(facts, shapes, index)]
    if not fitting:
        given = ", ".join(f"'{name}' {_show(shape)}" for name, shape in shapes.items())
        which = "every profile" if asked is None else f"profile {asked}"
        listing = "".join(f"\n  {_describe(facts, index)}" for index in range(facts.profiles))
        raise InputError(
            f"the shapes {given} lie outside {which} of the engine:{listing}",
            f"give shapes within one, or {REBUILD} for these",
        )
    return min(fitting, key=lambda index: _distance(facts, shapes, index))


def check_profile(facts: EngineFacts, asked: int | None) -> None:
    """Refuse a profile that the engine does not have.

    Raises:
        InputError: it has none of that number.
    """
    if asked is not None and not 0 <= asked < facts.profiles:
        raise InputError(
            f"the engine has no profile {asked}", f"choose from 0 to {facts.profiles - 1}"
        )


def _takes(facts: EngineFacts, shapes: Mapping[str, Shape], profile: int) -> bool:
    return all(
        low <= size <= high
        for tensor in facts.inputs
        for low, size, high in zip(
            tensor.ranges[profile].min,
            shapes[tensor.name],
            tensor.ranges[profile].max,
            strict=True,
        )
    )


def _distance(facts: EngineFacts, shapes: Mapping[str, Shape], profile: int) -> float:
    """How far the shapes are from those that the profile was made the fastest for."""
    return sum(
        abs(math.log(max(size, 1) / max(usual, 1)))
        for tensor in facts.inputs
        for size, usual in zip(shapes[tensor.name], tensor.ranges[profile].opt, strict=True)
    )


def _describe(facts: EngineFacts, profile: int) -> str:
    inputs = ", ".join(
        f"'{tensor.name}' from {_show(ranges.min)} to {_show(ranges.max)}"
        for tensor in facts.inputs
        for ranges in (tensor.ranges[profile],)
    )
    return f"profile {profile}: {inputs}"


def _show(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"

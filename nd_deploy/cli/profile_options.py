"""Reads what `nd-deploy profile` is given: lists, choices of one or both, percentages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from nd_deploy.errors import InputError

T = TypeVar("T")


def listed(read: Callable[[str], T]) -> Callable[..., tuple[T, ...]]:
    """A callback for an option that takes values separated by commas.

    Args:
        read: makes a value of a text, or raises ValueError.
    """

    def callback(
        context: click.Context, option: click.Parameter, text: str | None
    ) -> tuple[T, ...]:
        if text is None:
            return ()
        flag = option.opts[0]
        values: list[T] = []
        for part in text.split(","):
            try:
                value = read(part.strip())
            except ValueError as error:
                raise InputError(
                    f"{flag} {text}: {part.strip()!r} makes no sense",
                    f"separate values by commas, as in {flag} {option.metavar or ''}".rstrip(),
                ) from error
            if value in values:
                raise InputError(f"{flag} {text} names {part.strip()} twice", "name it once")
            values.append(value)
        return tuple(values)

    return callback


def word(text: str) -> str:
    """Any word but none.

    Raises:
        ValueError: there is none.
    """
    if not text:
        raise ValueError("empty")
    return text


def one_or_both(off: str, on: str) -> tuple[click.Choice[str], Callable[..., tuple[bool, ...]]]:
    """The type and the callback of an option that is one word, the other, or "both"."""
    values = {off: (False,), on: (True,), "both": (False, True)}
    return click.Choice(tuple(values)), lambda context, option, text: values[text]

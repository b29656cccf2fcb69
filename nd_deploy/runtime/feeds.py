"""Compares the arrays given to a model with the inputs that it declares."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Port:
    """An input of a model.

    Attributes:
        name: the input's name.
        dtype: numpy's name of its dtype; None accepts any.
        shape: a number where the size is fixed, a name or None where it is not; None if even the
            rank is free. Equal names stand for equal sizes.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None


def check_feeds(ports: Iterable[Port], feeds: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that a model was not declared for.

    Args:
        ports: the model's inputs.
        feeds: the arrays by name.

    Raises:
        InputError: an input is missing, unknown, or of another dtype or shape.
    """
    expected = {port.name: port for port in ports}
    for name in expected:
        if name not in feeds:
            raise InputError(
                f"input '{name}' is missing", f"give every input; expected: {_listed(expected)}"
            )
    sizes: dict[str, tuple[str, int]] = {}
    for name, array in feeds.items():
        if name not in expected:
            raise InputError(
                f"the model has no input '{name}'",
                f"rename or drop it; expected: {_listed(expected)}",
            )
        _check_array(expected[name], array, sizes)


def _check_array(port: Port, array: np.ndarray, sizes: dict[str, tuple[str, int]]) -> None:
    # The kind of byte order is part of a dtype but not of its name.
    if port.dtype is not None and (_name(array.dtype) != port.dtype or not array.dtype.isnative):
        raise InputError(
            f"input '{port.name}' has dtype {array.dtype}, but the model takes {port.dtype}",
            f"convert it: array.astype('{port.dtype}')",
        )
    if port.shape is None:
        return
    if array.ndim != len(port.shape):
        raise _misshapen(port, array)
    for size, given in zip(port.shape, array.shape, strict=True):
        if size == given or size is None:
            continue
        if not isinstance(size, str):
            raise _misshapen(port, array)
        first, known = sizes.setdefault(size, (port.name, given))
        if given != known:
            raise InputError(
                f"input '{port.name}' has {size} = {given}, but '{first}' has {size} = {known}",
                f"give arrays of one {size}",
            )


def _misshapen(port: Port, array: np.ndarray) -> InputError:
    return InputError(
        f"input '{port.name}' has shape {_show(array.shape)}, "
        f"but the model takes {_show(port.shape or ())}",
        "reshape the array, or convert the model for this shape",
    )


@functools.lru_cache
def _name(dtype: np.dtype[Any]) -> str:
    # numpy puts it together each time, which a server that answers thousands a second would feel.
    return str(dtype.name)


def _listed(ports: Mapping[str, Port]) -> str:
    return ", ".join(map(_describe, ports.values())) or "none"


def _describe(port: Port) -> str:
    shape = "" if port.shape is None else f" {_show(port.shape)}"
    return f"'{port.name}' {port.dtype or 'of any dtype'}{shape}"


def _show(shape: tuple[int | str | None, ...]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)})"

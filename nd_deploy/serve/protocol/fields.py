"""A request's fields, as JSON or gRPC carried them, before any model is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from nd_deploy.serve.protocol.errors import bad_request, shown

# One comes back in the answer and in every line of the log.
_LONGEST_ID = 1024
_SHAPE = "the shape of input"

Parameters = Mapping[str, Any]
NO_PARAMETERS: Parameters = MappingProxyType({})


class InputFields(NamedTuple):
    """An input of a request: either values or data.

    Attributes:
        name: of the input.
        datatype: of the protocol, as the client has it.
        shape: as the client has it.
        values: numbers, flat or nested as the shape says; None if they come as data.
        data: little-endian, in rows; None if they come as values.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any] | None = None
    data: bytes | memoryview | None = None


class OutputFields(NamedTuple):
    """An output that a request names.

    Attributes:
        name: of the output.
        parameters: of the binary tensor data and classification extensions.
    """

    name: str
    parameters: Parameters = NO_PARAMETERS


class RequestFields(NamedTuple):
    """A request.

    Attributes:
        id: None if there is none.
        inputs: as many as came.
        outputs: that are named; empty for all.
        parameters: of the request.
    """

    id: str | None
    inputs: tuple[InputFields, ...]
    outputs: tuple[OutputFields, ...] = ()
    parameters: Parameters = NO_PARAMETERS


def members(value: object, where: str, known: frozenset[str]) -> dict[str, Any]:
    """An object of JSON, if it has no member but those known.

    Args:
        value: as parsed.
        where: what it is, for messages.
        known: the members it may have.

    Raises:
        Refusal: 400.
    """
    if not isinstance(value, dict):
        raise bad_request(f"{where} is {shown(value)}, which is no JSON object")
    if not value.keys() <= known:
        unknown = min(value.keys() - known)
        raise bad_request(
            f"{where} has a member {shown(unknown)}; known are {', '.join(sorted(known))}"
        )
    return value


def text(value: object, what: str, of: str | None = None) -> str:
    """A string that is not empty.

    Args:
        value: as parsed.
        what: it is, for messages.
        of: the name of the input or output that it belongs to, if it is not that name itself.

    Raises:
        Refusal: 400.
    """
    if not isinstance(value, str) or not value:
        raise bad_request(f"{where(what, of)} is {shown(value)}, which is no name")
    return value


def request_id(value: object) -> str | None:
    """A request's id; None for none, which an empty one is too.

    Raises:
        Refusal: 400, it is no string, or a long one.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_ID:
        raise bad_request(
            f"the request's id is {shown(value)}, and not a string of at most "
            f"{_LONGEST_ID} characters"
        )
    return value


def shape(value: object, of: str) -> tuple[int, ...]:
    """A shape: a list of positive whole numbers.

    Args:
        value: as parsed.
        of: the input's name, for messages.

    Raises:
        Refusal: 400.
    """
    if not isinstance(value, list):
        raise bad_request(f"{where(_SHAPE, of)} is {shown(value)}, which is no list of sizes")
    for size in value:
        if type(size) is not int or size < 1:
            raise bad_request(
                f"{where(_SHAPE, of)} holds {shown(size)}, which is no size of at least 1"
            )
    return tuple(value)


def parameters(value: object, what: str, of: str | None = None) -> Parameters:
    """Parameters: an object of strings, numbers and booleans; None for none.

    The protocol's section "Parameters" knows no others.

    Args:
        value: as parsed.
        what: they are, for messages.
        of: the name of the input or output that they belong to; None for the request's own.

    Raises:
        Refusal: 400.
    """
    if value is None:
        return NO_PARAMETERS
    if not isinstance(value, dict):
        raise bad_request(f"{where(what, of)} are {shown(value)}, which is no JSON object")
    for name, parameter in value.items():
        if not isinstance(parameter, (str, int, float)):
            raise bad_request(
                f"{where(what, of)} hold {shown(name)}: {shown(parameter)}, which is no value"
            )
    return value


def where(what: str, of: str | None) -> str:
    """What a message is about: something, or something of a client's name."""
    return what if of is None else f"{what} {shown(of)}"

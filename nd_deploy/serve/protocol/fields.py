"""A request's fields, as JSON or gRPC carried them, before any model is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nd_deploy.serve.protocol.errors import bad_request, shown

# One comes back in the answer and in every line of the log.
_LONGEST_ID = 1024

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class InputFields:
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


@dataclass(frozen=True)
class OutputFields:
    """An output that a request names.

    Attributes:
        name: of the output.
        parameters: of the binary tensor data and classification extensions.
    """

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class RequestFields:
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
    parameters: Parameters = field(default_factory=dict)


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
    unknown = value.keys() - known
    if unknown:
        raise bad_request(
            f"{where} has a member {shown(min(unknown))}; known are {', '.join(sorted(known))}"
        )
    return value


def text(value: object, where: str) -> str:
    """A string that is not empty.

    Raises:
        Refusal: 400.
    """
    if not isinstance(value, str) or not value:
        raise bad_request(f"{where} is {shown(value)}, which is no name")
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


def shape(value: object, where: str) -> tuple[int, ...]:
    """A shape: a list of positive whole numbers.

    Raises:
        Refusal: 400.
    """
    if not isinstance(value, list):
        raise bad_request(f"{where} is {shown(value)}, which is no list of sizes")
    for size in value:
        if type(size) is not int or size < 1:
            raise bad_request(f"{where} holds {shown(size)}, which is no size of at least 1")
    return tuple(value)


def parameters(value: object, where: str) -> Parameters:
    """Parameters: an object of strings, numbers and booleans; None for none.

    The protocol's section "Parameters" knows no others.

    Raises:
        Refusal: 400.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{where} are {shown(value)}, which is no JSON object")
    for name, parameter in value.items():
        if not isinstance(parameter, str | int | float):
            raise bad_request(f"{where} hold {shown(name)}: {shown(parameter)}, which is no value")
    return value

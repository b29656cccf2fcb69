"""Messages that are counted before they are parsed.

A parser makes an object of every field that a client sends: 32 MiB of empty inputs, two bytes each,
become 1.4 GB. Whoever counts the fields first needs none of that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor  # type: ignore[import-untyped]

from nd_deploy.serve.protocol.errors import bad_request
from nd_deploy.serve.refusal import Refusal

# Of all messages within a request; one for a model with ten inputs has about a hundred.
_MOST_FIELDS = 10_000
# Bytes in which too many fields for that do not fit: each takes two at least.
_HARMLESS = 2 * _MOST_FIELDS

# Packed numbers are one field. Those of a shape become Python's own before anyone counts them.
_INPUT, _SHAPE, _LONGEST_SHAPE = "InferInputTensor", 3, 1024

# Wire types (protobuf's "Encoding"); a group's start and end are tags and nothing else.
_VARINT, _EIGHT_BYTES, _LENGTH, _GROUP_START, _GROUP_END, _FOUR_BYTES = range(6)
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4, _GROUP_START: 0, _GROUP_END: 0}
_LONGEST_VARINT = 10


def check_parts(data: bytes, descriptor: Descriptor) -> None:
    """Refuse a message of more fields than any request needs.

    Args:
        data: on the wire.
        descriptor: of the message.

    Raises:
        Refusal: 400, there are too many, or it is no protobuf message.
    """
    if len(data) <= _HARMLESS:
        return
    fields = 0
    messages = [(0, len(data), descriptor)]
    while messages:
        start, end, kind = messages.pop()
        nested = _nested(kind)
        for number, first, last in _fields(data, start, end):
            fields += 1
            if fields > _MOST_FIELDS:
                raise bad_request(
                    f"the request has more than {_MOST_FIELDS} fields; send tensors as "
                    "raw_input_contents, or typed contents in packed form",
                    "too many fields",
                )
            if number == _SHAPE and last - first > _LONGEST_SHAPE and kind.name == _INPUT:
                raise bad_request("an input's shape has more sizes than any tensor")
            if first < last and number in nested:
                messages.append((first, last, nested[number]))


def not_protobuf() -> Refusal:
    """A refusal of bytes that are no message."""
    return bad_request("the request is no protobuf message of its method", "not protobuf")


@functools.cache
def _nested(descriptor: Descriptor) -> dict[int, Descriptor]:
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None
    }


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number of every field of a message, and from where to where its value lies.

    Values that have no length of their own are left empty.
    """
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        wire_type = tag & 7
        first = position
        if wire_type == _LENGTH:
            length, first = _varint(data, position, end)
            position = first + length
        elif wire_type == _VARINT:
            _, position = _varint(data, position, end)
            first = position
        elif wire_type in _FIXED:
            position = first = position + _FIXED[wire_type]
        else:
            raise not_protobuf()
        if position > end:
            raise not_protobuf()
        yield tag >> 3, first, position


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number, and the position behind it."""
    value = 0
    for place, byte in enumerate(data[position : min(position + _LONGEST_VARINT, end)]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, position + place + 1
    raise not_protobuf()

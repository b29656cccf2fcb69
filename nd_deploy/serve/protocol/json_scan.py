"""JSON that is measured before it is parsed.

A parser takes its memory from what a client sent: 32 bytes and more for a value of three
characters, and a stack frame for each bracket. Counting bytes takes little of that, and a
few milliseconds for each megabyte.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nd_deploy.serve.protocol.errors import bad_request

# As signed bytes: one level up for a bracket that opens, one down for one that closes.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
# Steps that are added up together, so that memory does not grow with their number.
_CHUNK = 2**14
# Names, datatypes and members' names; a tensor of text is not served.
_MOST_QUOTES = 10_000


class Extent(NamedTuple):
    """How large a JSON text is, if it is one.

    Attributes:
        values: at least as many as there are, lists and objects included.
        members: of all objects, doubled names counted twice.
        steps: a byte for each bracket in order: 1 if it opens, -1 if it closes.
    """

    values: int
    members: int
    steps: bytes

    def deeper_than(self, depth: int) -> bool:
        """Whether more than `depth` lists and objects lie in one another."""
        if len(self.steps) <= depth:
            return False
        level = 0
        for start in range(0, len(self.steps), _CHUNK):
            chunk = np.frombuffer(self.steps[start : start + _CHUNK], np.int8)
            levels = np.cumsum(chunk, dtype=np.int32)
            if level + int(levels.max()) > depth:
                return True
            level += int(levels[-1])
        return False


def is_within(text: bytes, depth: int, values: int) -> bool:
    """Whether a short text is sure to be nested no deeper and to hold no more values than this.

    It says so in a tenth of the time that `measure` takes. Of others it does not tell.
    """
    return len(text) <= values and text.count(b"[") + text.count(b"{") <= depth


def measure(text: bytes) -> Extent:
    """Count a JSON text's values, members and brackets.

    Of what is no JSON the counts may be wrong; a parser refuses that before it makes any value.

    Raises:
        Refusal: 400, it holds thousands of strings.
    """
    outside = _outside_strings(text)
    steps = outside.translate(_STEPS, _NO_BRACKET)
    return Extent(
        values=outside.count(b",") + len(steps) // 2, members=outside.count(b":"), steps=steps
    )


def _outside_strings(text: bytes) -> bytes:
    if b"\\" in text:
        # In this order: a quote behind an escaped backslash ends its string.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > _MOST_QUOTES:
        raise bad_request("the request's JSON holds more strings than any needs")
    return b"".join(text.split(b'"')[::2])

"""Protobuf's text format, as far as model configurations use it.

A message is a mapping from fields to values. Reading knows no schema, so that every field has a
list of values, in the order in which they stand; `one` and `many` take them out.
https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, Union

T = TypeVar("T")


class Word(str):
    """The name of an enum's value, which stands without quotes."""


Scalar: TypeAlias = str | int | float
Value: TypeAlias = Union[Scalar, "Mapping[str, Value]", "Sequence[Value]"]
Message: TypeAlias = dict[str, list[Any]]

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>[{}\[\]<>:,;])""",
    re.VERBOSE,
)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LETTERS = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ESCAPED = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_END = "the end"
_CLOSING = {"{": "}", "<": ">"}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def dumps(message: Mapping[str, Value]) -> str:
    """Write a message.

    Args:
        message: the fields in order; a list stands for a repeated field, a mapping for a message.

    Returns:
        The text, ending in a newline.
    """
    return "\n".join(_fields(message, "")) + "\n"


def loads(text: str) -> Message:
    """Read a message.

    Raises:
        ValueError: it is no text format; the line is named.
    """
    try:
        return _message(_Tokens(text), _END)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def one(message: Message, field: str, default: T) -> T:
    """The value of a field, the last if there are several.

    Args:
        message: that may have it.
        field: its name.
        default: for a field that is not set, or whose value is of another type than this.
    """
    values = message.get(field, [])
    return values[-1] if values and isinstance(values[-1], type(default)) else default


def many(message: Message, field: str, kind: type[T]) -> list[T]:
    """The values of a repeated field that are of a type."""
    return [value for value in message.get(field, []) if isinstance(value, kind)]


def _fields(message: Mapping[str, Value], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, str | int | float):
            yield f"{indent}{name}: {_scalar(value)}"
            continue
        values = [value] if isinstance(value, Mapping) else value
        messages = [each for each in values if isinstance(each, Mapping)]
        for each in messages:
            yield f"{indent}{name} {{"
            yield from _fields(each, indent + "  ")
            yield f"{indent}}}"
        if not messages:
            yield f"{indent}{name}: [{', '.join(map(_scalar, values))}]"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Word) or not isinstance(value, str):
        return str(value)
    escaped = (
        _ESCAPES.get(sign) or (sign if sign >= " " and sign != "\x7f" else f"\\{ord(sign):03o}")
        for sign in value
    )
    return f'"{"".join(escaped)}"'


class _Tokens:
    """What is left of a text, token by token; the last one is for the end."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self.next = next(self._tokens)

    def take(self) -> _Token:
        token = self.next
        self.next = next(self._tokens, token)
        return token

    def expect(self, text: str) -> None:
        token = self.take()
        if token.text != text:
            raise _misplaced(token, text)

    def skip(self, *texts: str) -> bool:
        found = self.next.text in texts
        if found:
            self.take()
        return found


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        line = text.count("\n", 0, place) + 1
        if found is None:
            raise ValueError(f"line {line} has {text[place]!r}, which begins nothing")
        place = found.end()
        if found.lastgroup != "space":
            yield _Token(str(found.lastgroup), found.group(), line)
    yield _Token("end", _END, text.count("\n") + 1)


def _misplaced(token: _Token, expected: str) -> ValueError:
    return ValueError(f"line {token.line} has {token.text} where {expected} is expected")


def _message(tokens: _Tokens, closing: str) -> Message:
    message: Message = {}
    while not tokens.skip(closing):
        name = tokens.take()
        if name.kind != "word":
            raise _misplaced(name, "a field")
        colon = tokens.skip(":")
        message.setdefault(name.text, []).extend(_values(tokens, colon))
        tokens.skip(",", ";")
    return message


def _values(tokens: _Tokens, scalars: bool) -> list[Any]:
    if not tokens.skip("["):
        return [_value(tokens, scalars)]
    values: list[Any] = []
    while not tokens.skip("]"):
        if values:
            tokens.expect(",")
        values.append(_value(tokens, scalars))
    return values


def _value(tokens: _Tokens, scalars: bool) -> Any:  # noqa: ANN401
    token = tokens.take()
    if token.text in _CLOSING:
        return _message(tokens, _CLOSING[token.text])
    if scalars and token.kind == "string":
        pieces = [token.text]
        while tokens.next.kind == "string":
            pieces.append(tokens.take().text)
        return "".join(map(_unquoted, pieces))
    if scalars and token.kind == "number":
        return _number(token.text)
    if scalars and token.kind == "word":
        return token.text == "true" if token.text in ("true", "false") else Word(token.text)
    raise _misplaced(token, "a value")


def _number(text: str) -> int | float:
    plain = text.replace(" ", "")
    if "x" in plain.lower():
        return int(plain, 16)
    digits = plain.lstrip("-")
    if digits.isdecimal():
        return int(plain, 8 if digits.startswith("0") and len(digits) > 1 else 10)
    return float(plain.rstrip("fF"))


def _unquoted(text: str) -> str:
    def byte(found: re.Match[bytes]) -> bytes:
        octal, hexadecimal, letter = found.groups()
        if letter is None:
            return bytes([int(octal, 8) if octal else int(hexadecimal, 16)])
        named = _LETTERS.get(letter.decode("latin-1"))
        return letter if named is None else bytes([named])

    return _ESCAPED.sub(byte, text[1:-1].encode()).decode(errors="replace")

"""What a shared library asks of the loader, read from its file and without loading it."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}
_HEADER = struct.Struct("<HHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<QQ")
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRING_TABLE, _SONAME = 1, 5, 14


@dataclass(frozen=True)
class SharedLibrary:
    """The head of an ELF file.

    Attributes:
        machine: what it runs on, as `platform.machine` names it.
        name: its own name among libraries, such as "libnvinfer.so.10"; None if it has none.
        needed: the names of the libraries that are loaded with it, in order.
    """

    machine: str
    name: str | None
    needed: tuple[str, ...]


def read_library(path: Path) -> SharedLibrary:
    """Read what a library is for and what it needs.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no 64-bit little-endian ELF file, or is cut off.
    """
    with path.open("rb") as file:
        if file.read(6) != b"\x7fELF\x02\x01":
            raise ValueError("it is no 64-bit shared library of Linux")
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _parse(content)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError("it is cut off or damaged") from error


def _parse(content: mmap.mmap) -> SharedLibrary:
    _, machine, _, _, first, *_, count, _, _, _ = _HEADER.unpack_from(content, 16)
    segments = [_SEGMENT.unpack_from(content, first + n * _SEGMENT.size) for n in range(count)]
    entries = [
        entry
        for kind, _, offset, _, _, size, *_ in segments
        if kind == _DYNAMIC
        for entry in _entries(content, offset, size)
    ]
    table = next((value for tag, value in entries if tag == _STRING_TABLE), None)
    strings = 0 if table is None else _offset(segments, table)
    names = {
        tag: [_text(content, strings + value) for found, value in entries if found == tag]
        for tag in (_NEEDED, _SONAME)
    }
    return SharedLibrary(
        _MACHINES.get(machine, f"machine {machine}"),
        next(iter(names[_SONAME]), None),
        tuple(names[_NEEDED]),
    )


def _entries(content: mmap.mmap, offset: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(offset, offset + size, _ENTRY.size):
        tag, value = _ENTRY.unpack_from(content, start)
        if not tag:
            return
        yield tag, value


def _offset(segments: list[tuple[int, ...]], address: int) -> int:
    """Where in the file the byte is that is loaded to an address."""
    for kind, _, offset, start, _, size, *_ in segments:
        if kind == _LOAD and start <= address < start + size:
            return offset + address - start
    raise IndexError(address)


def _text(content: mmap.mmap, start: int) -> str:
    end = content.find(b"\0", start)
    if end < 0:
        raise IndexError(start)
    return content[start:end].decode()

"""Writes the head of a shared library."""

import struct

X86_64, AARCH64 = 0x3E, 0xB7
_BASE = 0x40000  # addresses differ from offsets, as in real files


def elf_file(needed=(), name=None, machine=X86_64):
    """A 64-bit ELF file of one loaded segment, in which the dynamic section stands."""
    strings = b"\0"
    entries = []
    for tag, texts in ((1, needed), (14, [name] if name else [])):
        for text in texts:
            entries.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    start = 64 + 2 * 56
    size = 16 * (len(entries) + 2)
    entries = [*entries, (5, _BASE + start + size), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    total = start + size + len(strings)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, total, total, 4096)
    section = struct.pack("<IIQQQQQQ", 2, 6, start, _BASE + start, 0, size, size, 8)
    return head + load + section + dynamic + strings

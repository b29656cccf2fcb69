"""Reads the small files by which Linux tells of a machine; what cannot be read is None."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """What a file says, without blanks around it and the NUL that ends it in a device tree.

    Args:
        path: of the file; a sensor that is switched off may refuse to be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \t\n\0") or None
    except OSError:
        return None


def number_of(path: Path) -> float | None:
    """The number that a file holds."""
    try:
        return float(text_of(path) or "")
    except ValueError:
        return None

"""Files: arrays in one, its hash, its size in words, and what kept it from being written."""

from __future__ import annotations

import errno
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL = (errno.ENOSPC, errno.EDQUOT)


def sha256(path: Path) -> str:
    """The hash of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what numpy.savez writes, which cannot hold an array that is called "file"."""
    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in sorted(arrays.items()):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def readable_size(size: float) -> str:
    """A number of bytes in words, such as "1.5 MB"."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for power, unit in enumerate(("kB", "MB", "GB"), start=1):
        if size < 1000 ** (power + 1) or unit == "GB":
            break
    return f"{size / 1000**power:.1f} {unit}"


def why_not_written(error: OSError, needed: int) -> tuple[str, str]:
    """What kept `needed` bytes from being written, and what to do about it."""
    if error.errno in _FULL:
        return (
            f"the disk is full: at least {readable_size(needed)} are needed",
            "free some space, or choose a folder on another disk",
        )
    return (
        f"{error.strerror or error}",
        "choose a folder that you may write to, or change its permissions",
    )

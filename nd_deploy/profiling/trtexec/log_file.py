"""Reads what trtexec prints of the GPU and of itself.

The lines were read in NVIDIA's TensorRT repository, samples/common/sampleDevice.cpp and
samples/trtexec/trtexec.cpp, at the tags v10.3.0 and v11.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.errors import InputError
from nd_deploy.profiling.environment.record import Gpu

_MIB = 2**20


@dataclass(frozen=True)
class Logged:
    """What a log tells.

    Attributes:
        version: of TensorRT; None if it does not say.
        gpu: the one that was used; None if it does not say.
    """

    version: str | None = None
    gpu: Gpu | None = None


def read_log(path: Path) -> Logged:
    """Read what trtexec printed.

    Args:
        path: the file that its output was sent to.

    Raises:
        InputError: it cannot be read, or trtexec did not print it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", "give the log of trtexec") from error
    version, name = _told("TensorRT version", text), _told("Selected Device", text)
    if version is None and name is None:
        raise InputError(
            f"{path} names neither a version of TensorRT nor a device, as trtexec's log does",
            "give the file that the whole output of trtexec was sent to, or leave it out",
        )
    index, memory = _told("Selected Device ID", text), _told("Device Global Memory", text)
    number = re.match(r"\d+(?= MiB)", memory or "")
    gpu = name and Gpu(
        name,
        index=int(index) if index is not None and index.isdigit() else 0,
        compute_capability=_told("Compute Capability", text),
        memory_bytes=None if number is None else int(number[0]) * _MIB,
    )
    return Logged(version, gpu or None)


def _told(name: str, text: str) -> str | None:
    """What stands behind a name and a colon, at the end of a line."""
    found = re.search(rf"{name}: *(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found and found[1] else None

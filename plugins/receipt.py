"""What is known of a plugin library that was built here, in a file beside it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nd_deploy.bundle import strict_json

# What nd_library_version() of csrc/launchers.h returns.
INTERFACE_VERSION = 1
SOURCES = Path(__file__).parent

_SCHEMA = 1
_PATTERNS = ("CMakeLists.txt", "cmake/*.cmake", "csrc/**/*.*")


@dataclass(frozen=True)
class Receipt:
    """How a library was built.

    Attributes:
        sha256: of the library.
        nd_deploy: the version of nd-deploy.
        sources: a hash over all source files.
        archs: compute capabilities there is machine code for, such as "90".
        ptx: the one there is code for newer devices of.
        headers: the version of TensorRT's headers.
        nvcc: the version of the compiler.
        self_register: whether the library registers its plugins by being loaded.
    """

    sha256: str
    nd_deploy: str
    sources: str
    archs: tuple[str, ...]
    ptx: str
    headers: str
    nvcc: str
    self_register: bool

    def as_dict(self) -> dict[str, Any]:
        """The receipt as JSON-ready fields."""
        return {"schema": _SCHEMA} | asdict(self) | {"archs": list(self.archs)}


def receipt_path(library: Path) -> Path:
    """Where the receipt of a library is."""
    return library.with_suffix(".json")


def read_receipt(library: Path) -> Receipt | None:
    """The receipt of a library, or None if it has none.

    Raises:
        ValueError: there is a file in its place that is no receipt.
        OSError: the file cannot be read.
    """
    path = receipt_path(library)
    if not path.exists():
        return None
    content = strict_json.read(path)
    if content.pop("schema", None) != _SCHEMA:
        raise ValueError(f"{path} is no receipt of schema {_SCHEMA}")
    kinds = {"archs": list, "self_register": bool}
    for field in fields(Receipt):
        kind = kinds.get(field.name, str)
        if not isinstance(content.get(field.name), kind):
            raise ValueError(f"{path} has no {field.name} that is a {kind.__name__}")
    if len(content) != len(fields(Receipt)):
        raise ValueError(f"{path} has fields that this nd-deploy does not know")
    return Receipt(**content | {"archs": tuple(map(str, content["archs"]))})


def sources_hash() -> str:
    """A hash over the plugins' sources, of which a library is built."""
    digest = hashlib.sha256()
    files = {file for pattern in _PATTERNS for file in SOURCES.glob(pattern) if file.is_file()}
    for file in sorted(files):
        name = file.relative_to(SOURCES).as_posix()
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()

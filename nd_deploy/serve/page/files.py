"""The files of the page."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"


@functools.cache
def static_files() -> Mapping[str, tuple[str, bytes]]:
    """Every file of the page, by the path under which it is served.

    Returns:
        Its Content-Type and its bytes; the page itself is "/", and the others lie under "/page/".
    """
    folder = resources.files(__package__) / "static"
    return MappingProxyType(
        {
            "/" if file.name == _INDEX else f"/page/{file.name}": (
                _TYPES[file.name.rpartition(".")[2]],
                file.read_bytes(),
            )
            for file in folder.iterdir()
        }
    )

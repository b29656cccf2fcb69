"""Loads a plugin library in a process of its own, and says what is in it.

Run as `python -m nd_deploy.plugins.probe LIBRARY`, which lists the library's plugins, or with the
name of a TensorRT module behind it, which lists that TensorRT's after it has loaded the library.
It prints one JSON object a line: {"stage": ...} before each step, so that whoever started it knows
how far it came if the library ends the process, and {"result": ...} at last.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

# Where TensorRT's creators have their functions. Every interface starts with the two functions of
# IVersionedInterface and a destructor, which takes two places; then come createPlugin and
# getFieldNames.
_GET_INTERFACE_INFO, _NAME, _VERSION, _NAMESPACE = 1, 6, 7, 8
_KIND = b"PLUGIN CREATOR_V3ONE"

Say = Callable[[str, object], None]


class _InterfaceInfo(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_char_p),
        ("major", ctypes.c_int32),
        ("minor", ctypes.c_int32),
    )


def main() -> None:
    """Look into the library, or have a TensorRT load it."""
    path, *host = sys.argv[1:]
    # Libraries print on stdout as they like; what is said here goes where stdout was.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(what: str, fact: object) -> None:
        answers.write(json.dumps({what: fact}) + "\n")
        answers.flush()

    say("result", _load_into(host[0], path, say) if host else _look_into(path, say))


def _look_into(path: str, say: Say) -> dict[str, Any]:
    say("stage", "loading it")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return {"error": str(error)}
    say("stage", "asking it for its plugins")
    version = getattr(library, "nd_library_version", None)
    get_creators = getattr(library, "getCreators", None)
    return {
        "interface_version": None if version is None else version(),
        "plugins": None if get_creators is None else _plugins(get_creators),
    }


def _plugins(get_creators: Any) -> list[list[str]]:  # noqa: ANN401 - a foreign function
    get_creators.restype = ctypes.POINTER(ctypes.c_void_p)
    count = ctypes.c_int32(0)
    creators = get_creators(ctypes.byref(count))
    return [p for place in range(count.value) if (p := _plugin(creators[place]))]


def _plugin(creator: int) -> list[str] | None:
    """Name, version and namespace of what a creator makes; None if that is no IPluginV3."""
    functions = ctypes.cast(creator, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))).contents

    def call(place: int, result: Any) -> Any:  # noqa: ANN401
        return ctypes.CFUNCTYPE(result, ctypes.c_void_p)(functions[place])(creator)

    if call(_GET_INTERFACE_INFO, _InterfaceInfo).kind != _KIND:
        return None
    return [call(place, ctypes.c_char_p).decode() for place in (_NAME, _VERSION, _NAMESPACE)]


def _load_into(host: str, path: str, say: Say) -> dict[str, Any]:
    from nd_deploy.compat import trt

    say("stage", f"importing {host}")
    module = importlib.import_module(host)
    say("stage", f"loading it into {host}")
    registry = module.get_plugin_registry()
    loaded = registry.load_library(path)
    return {
        "version": module.__version__,
        "loaded": loaded is not None,
        "plugins": [list(plugin) for plugin in sorted(trt.plugin_creators(registry))],
    }


if __name__ == "__main__":
    main()

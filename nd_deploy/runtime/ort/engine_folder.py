"""Where ONNX Runtime's TensorRT provider keeps engines: a folder for everything that decides one.

The provider itself looks only at the model and at the kind of GPU, and would take an engine of
another profile or of another plugin library for the one asked for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nd_deploy.cache import ENVIRONMENT
from nd_deploy.errors import InputError
from nd_deploy.runtime.tensorrt.kept.engine_cache import default_folder
from nd_deploy.runtime.tensorrt.kept.engine_key import EngineKey

_HOME = "onnxruntime"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def engine_folder(key: EngineKey, root: Path | None = None) -> Path:
    """Make the folder of the engines of a key.

    Args:
        key: what they are built from and for.
        root: the folder that holds such folders; None for one in the user's cache.

    Raises:
        InputError: it cannot be made or written, or somebody else could write to it.
    """
    root = default_folder() / _HOME if root is None else root
    folder = root / f"{key.model_sha256[:16]}-{key.digest()[:16]}"
    remedy = f"set {ENVIRONMENT} to a folder of your own, or --option trt_engine_cache_enable=off"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise InputError(
            f"the engine cache {folder} cannot be made: {error.strerror}", remedy
        ) from error
    # Whoever can write an engine decides what is run by whoever loads it.
    if found.st_uid != os.getuid() or found.st_mode & _OTHERS:
        raise InputError(f"the engine cache {folder} can be written by others", remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the engine cache {folder} is not writable", remedy)
    return folder

"""Plugin libraries for ONNX Runtime's TensorRT provider: checked before it loads them.

The provider loads them when the first TensorRT session of a process is created, and never again;
one that it cannot load it passes over without a word. Whatever is wrong with one therefore has to
be found first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.ort.libraries import tensorrt_major
from nd_deploy.runtime.ort.names import TENSORRT

if TYPE_CHECKING:
    from nd_deploy.plugins.receipt import Receipt

SEPARATOR = ";"

_BUILD = "nd-deploy plugin build --self-register"

_loaded: tuple[str, ...] | None = None


def admit(paths: Sequence[Path], ops: Sequence[str] = ()) -> dict[str, str]:
    """Check the plugin libraries of a session that is about to be created.

    Args:
        paths: the files, in the order in which they are to be loaded.
        ops: the plugins that they have to bring.

    Returns:
        The sha256 of each, by its path.

    Raises:
        InputError: a file is missing, no library of this machine, or has a path that cannot be
            handed on.
        BackendError: a library is damaged, of another build, or lacks a plugin; or an earlier
            TensorRT session of this process had others.
    """
    global _loaded
    hashes = {str(path.absolute()): check_plugin(path, ops) for path in paths}
    asked = tuple(f"{path} {digest}" for path, digest in hashes.items())
    if _loaded is not None and _loaded != asked:
        raise BackendError(
            "the plugin libraries of this session are not those of the first TensorRT session of "
            "this process, which alone loads any",
            "run the two in processes of their own",
        )
    _loaded = asked
    return hashes


def check_plugin(path: Path, ops: Sequence[str] = ()) -> str:
    """Refuse a file that is no plugin library which the provider can use here.

    Args:
        path: the file; the operator's own choice, since its code is run. It is loaded in another
            process.
        ops: the plugins that it has to bring.

    Returns:
        Its sha256.

    Raises:
        InputError: it is missing, no library of this machine, or has a path that cannot be handed
            on.
        BackendError: it is damaged, of another build, or lacks a plugin.
    """
    from nd_deploy.plugins.check import check_library

    if not path.is_file():
        kind = "is no file" if path.exists() else "does not exist"
        raise InputError(f"--plugin {path} {kind}", f"build the library: {_BUILD}")
    if SEPARATOR in str(path.absolute()):
        raise InputError(
            f"--plugin {path} has a {SEPARATOR!r} in its path, which ONNX Runtime takes for the "
            "end of it",
            "move the file to another folder",
        )
    report = check_library(path, ops, hosts=())
    report.require_sound()
    if report.library.receipt is not None:
        _check_receipt(path, report.library.receipt)
    digest: str = report.library.sha256
    return digest


def _check_receipt(path: Path, receipt: Receipt) -> None:
    if not receipt.self_register:
        raise BackendError(
            f"{path} waits for TensorRT to ask it for its plugins, and ONNX Runtime's provider "
            "only loads a library",
            f"build one that registers itself: {_BUILD}",
        )
    wanted = tensorrt_major()
    if wanted is not None and receipt.headers.split(".")[0] != wanted:
        raise BackendError(
            f"{path} registers with TensorRT {receipt.headers}, and {TENSORRT} has TensorRT "
            f"{wanted}",
            f"build it with the headers of TensorRT {wanted}: {_BUILD} --headers FOLDER",
        )

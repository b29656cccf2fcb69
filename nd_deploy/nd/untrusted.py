"""Reads a checkpoint file without running anything that is in it, or says why that fails."""

import hashlib
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from nd_deploy import compat
from nd_deploy.errors import CheckpointError

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_LFS = b"version https://git-lfs.github.com/spec/"
_CHUNK = 1 << 20

_RESAVE = (
    "where the network was trained, save its tensors alone: "
    "torch.save({'state_dict': model.state_dict()}, 'checkpoint.pth.tar')"
)
_COPY_AGAIN = "copy or download the file again, and compare its size with the original"
_WANTED = (
    "give a file written by torch.save (main.py, main_imagenet.py, Segmentation/train.py, "
    "or a bare state dict) or a .safetensors file"
)


def read_untrusted(path: Path) -> tuple[object, dict[str, str] | None, str]:
    """Read what a `torch.save` or safetensors file holds, on the CPU.

    Args:
        path: the file.

    Returns:
        The object saved; the metadata if the file is safetensors, else None; its SHA-256 in hex.

    Raises:
        CheckpointError: the file is absent, damaged, no checkpoint, or holds more than tensors and
            plain values, so that opening it would run code of its choosing.
        MissingDependencyError: torch or safetensors is not installed.
    """
    head, digest = _look_at(path)
    if head.startswith(_LFS):
        raise CheckpointError(
            f"{path} is a Git LFS pointer: the checkpoint itself was never downloaded",
            "fetch it: git lfs pull",
        )
    if path.suffix == ".safetensors" or _is_safetensors(head):
        tensors, metadata = _load_safetensors(path)
        return tensors, metadata, digest
    return _load_torch(path, head), None, digest


def _look_at(path: Path) -> tuple[bytes, str]:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder", f"name the file in it; {_WANTED}")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            head = file.read(_CHUNK)
            chunk = head
            while chunk:
                digest.update(chunk)
                chunk = file.read(_CHUNK)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist", "check the path") from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}", "check its permissions"
        ) from error
    if not head:
        raise CheckpointError(f"{path} is empty", _COPY_AGAIN)
    return head, digest.hexdigest()


def _is_safetensors(head: bytes) -> bool:
    # A little-endian length of eight bytes, then a JSON object.
    return head[8:9] == b"{" and head[6:8] == b"\0\0"


def _load_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    compat.torch()
    safetensors = compat.require("safetensors", "export")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path} is no whole safetensors file: {error}", _COPY_AGAIN
        ) from error


def _load_torch(path: Path, head: bytes) -> object:
    torch = compat.torch()
    _refuse_foreign_archive(path, head)
    try:
        with warnings.catch_warnings():
            # About a foreign pickle, just before it is refused.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of unknown origin make the unpickler raise anything
        raise _explain(path, head, error) from error


def _refuse_foreign_archive(path: Path, head: bytes) -> None:
    if not head.startswith(_ZIP):
        return
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is cut short: its end is missing", _COPY_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}", _COPY_AGAIN) from error
    if "constants.pkl" in members:
        raise CheckpointError(
            f"{path} is a TorchScript archive: it holds compiled code, not a checkpoint",
            "give the checkpoint that it was scripted from; " + _RESAVE,
        )
    if "data.pkl" not in members:
        raise CheckpointError(f"{path} is a zip archive but no checkpoint", _WANTED)


def _explain(path: Path, head: bytes, error: Exception) -> CheckpointError:
    said = str(error)
    needed = re.search(r"GLOBAL ([\w.]+)", said)
    if needed:
        return CheckpointError(
            f"{path} holds more than tensors: to open it, `{needed[1]}` would have to be loaded "
            "and run; nd-deploy runs nothing that comes from a checkpoint",
            _RESAVE,
        )
    if isinstance(error, EOFError) or "unexpected EOF" in said:
        return CheckpointError(f"{path} is cut short: its end is missing", _COPY_AGAIN)
    if "WeightsUnpickler error" in said and head.startswith(_PICKLE):
        return CheckpointError(
            f"{path} is a Python pickle that torch.save did not write; opening one can run any "
            "code, and nd-deploy runs nothing that comes from a checkpoint",
            _RESAVE,
        )
    if head.startswith((_ZIP, _PICKLE)):
        # torch's own message for this recommends to load the file unsafely.
        unsafe = isinstance(error, pickle.UnpicklingError)
        what = "its pickle is malformed" if unsafe else f"{type(error).__name__}: {said[:200]}"
        return CheckpointError(f"{path} is damaged: {what}", _COPY_AGAIN)
    return CheckpointError(f"{path} is no checkpoint", _WANTED)

"""The checkpoint formats found in the wild, read into one form and loaded into a network."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy import compat
from nd_deploy.errors import CheckpointError
from nd_deploy.nd.untrusted import read_untrusted

if TYPE_CHECKING:
    import torch

Scalar = int | float | str

# Wrappers of the training scripts that are no part of the network. Each goes only where every key
# below the same parent has it: a network may have a child of that name.
_WRAPPERS = (
    ("", "module."),  # DataParallel and DistributedDataParallel
    ("", "_orig_mod."),  # torch.compile
    ("features.", "module."),  # main_imagenet.py parallelises the features of a VGG alone
    ("backbone.", "layers."),  # torchvision's IntermediateLayerGetter, as it once was
)
_SHOWN = 4


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says about a network.

    Attributes:
        path: the file.
        format: "main.py", "main_imagenet.py", "segmentation", "state dict" or "safetensors".
        state_dict: every tensor by name, on the CPU, in the dtype it was saved in; wrappers such
            as `module.` are gone from the names.
        arch: the architecture's name, if the file tells.
        meta: the file's other plain values, such as epoch and best_acc.
        sha256: of the file, in hex.
        notes: what was changed or left out on reading.
    """

    path: Path
    format: str
    state_dict: dict[str, torch.Tensor]
    arch: str | None
    meta: dict[str, Scalar]
    sha256: str
    notes: list[str]


def read_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint without running anything that is in it.

    Args:
        path: a file of main.py, main_imagenet.py or Segmentation/train.py, a bare state dict, or
            safetensors.

    Returns:
        Its tensors and what it says about itself.

    Raises:
        CheckpointError: the file is absent, damaged, no checkpoint, or holds code.
        MissingDependencyError: torch or safetensors is not installed.
    """
    path = Path(path)
    saved, metadata, digest = read_untrusted(path)
    notes: list[str] = []
    if metadata is not None:
        kind, found, around = "safetensors", saved, dict[str, object](metadata)
    else:
        kind, found, around = _unwrap(path, saved)
    meta = {k: v for k, v in ((k, _plain(v)) for k, v in around.items()) if v is not None}
    arch = meta.pop("arch", None)
    return Checkpoint(
        path=path,
        format=kind,
        state_dict=_tensors_of(path, found, notes),
        arch=None if arch is None else str(arch),
        meta=meta,
        sha256=digest,
        notes=notes,
    )


def load_into(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's tensors into a network, all or none.

    Args:
        module: the network, wrapped in DataParallel or not; its dtypes and devices stay.
        checkpoint: what to load.

    Raises:
        CheckpointError: a tensor is missing, left over or of another shape; `module` is unchanged.
    """
    own = module.state_dict()
    renamed = _without_wrappers(own, [])
    found = checkpoint.state_dict
    missing = [name for name in renamed if name not in found]
    unexpected = [name for name in found if name not in renamed]
    reshaped = [
        name
        for name, key in renamed.items()
        if name in found and found[name].shape != own[key].shape
    ]
    if not (missing or unexpected or reshaped):
        state = OrderedDict((key, found[name]) for name, key in renamed.items())
        if all(name == key for name, key in renamed.items()):
            # Versions of the layers' formats, which their own loading code may look at.
            state._metadata = getattr(found, "_metadata", None)  # type: ignore[attr-defined]
        module.load_state_dict(state)
        return
    shapes = [
        f"{name} (expected {tuple(own[renamed[name]].shape)}, found {tuple(found[name].shape)})"
        for name in reshaped
    ]
    differences = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    raise CheckpointError(
        "\n".join(
            [f"{checkpoint.path} does not fit {type(module).__name__}:"]
            + [f"  {len(names)} {what}: {_shorten(names)}" for what, names in differences if names]
        ),
        _hint(checkpoint, bool(missing or unexpected), {n: own[renamed[n]] for n in reshaped}),
    )


def find_non_finite(state_dict: Mapping[str, torch.Tensor]) -> list[str]:
    """Find the tensors that hold a NaN or an infinity.

    Args:
        state_dict: tensors of any shape and dtype.

    Returns:
        Their names, in the order given.
    """
    torch = compat.torch()
    return [
        name
        for name, tensor in state_dict.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        # The 8-bit floats have no isfinite of their own.
        and not torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor).all()
    ]


def _unwrap(path: Path, saved: object) -> tuple[str, object, dict[str, object]]:
    if not isinstance(saved, dict):
        raise CheckpointError(
            f"{path} holds a {type(saved).__name__}, not a dict of tensors",
            "save the network's state dict: torch.save(model.state_dict(), 'checkpoint.pth')",
        )
    holders = [key for key, value in saved.items() if _has_tensors(value)]
    # Of several, as with a moving average beside the network, these are the trained network.
    key = next((k for k in ("state_dict", "model") if k in holders), None)
    if key is None and len(holders) > 1:
        raise CheckpointError(
            f"{path} holds several state dicts: {', '.join(map(repr, holders))}",
            "save the one to be deployed alone: torch.save(checkpoint[key], 'checkpoint.pth')",
        )
    if key is None and holders:
        key = holders[0]
    if key is not None:
        around = {str(k): v for k, v in saved.items() if k != key}
        return _kind(str(key), around), saved[key], around
    if _has_tensors(saved):
        return "state dict", saved, {k: v for k, v in saved.items() if not _is_tensor(v)}
    raise CheckpointError(
        f"{path} is a dict without tensors; its keys are {_shorten(list(map(str, saved)))}",
        "give a checkpoint that holds the network's state dict",
    )


def _kind(key: str, around: Mapping[str, object]) -> str:
    if key == "state_dict" and "best_acc1" in around:
        return "main_imagenet.py"
    if key == "state_dict" and ("best_acc" in around or "train_losses" in around):
        return "main.py"
    if key == "model" and "epoch" in around:
        return "segmentation"
    return "state dict"


def _tensors_of(path: Path, found: object, notes: list[str]) -> dict[str, torch.Tensor]:
    assert isinstance(found, dict)
    tensors = {str(key): value for key, value in found.items() if _is_tensor(value)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensor", "give a trained network's checkpoint")
    if len(tensors) < len(found):
        rest = [str(key) for key, value in found.items() if not _is_tensor(value)]
        notes.append(f"{len(rest)} entries are no tensors and were left out: {_shorten(rest)}")
    result = OrderedDict(
        (name, tensors[key].detach()) for name, key in _without_wrappers(tensors, notes).items()
    )
    versions = getattr(found, "_metadata", None)
    if isinstance(versions, dict) and list(result) == list(tensors):
        result._metadata = versions  # type: ignore[attr-defined]
    return result


def _without_wrappers(keys: Iterable[str], notes: list[str]) -> dict[str, str]:
    """Map each key without the wrappers' names to the key itself."""
    names = {key: key for key in keys}
    for parent, wrapper in _WRAPPERS:
        prefix = parent + wrapper
        below = [name for name in names if name.startswith(parent)]
        while below and all(name.startswith(prefix) for name in below):
            notes.append(f"prefix '{prefix}' removed from {len(below)} keys")
            names = {
                parent + name[len(prefix) :] if name.startswith(prefix) else name: key
                for name, key in names.items()
            }
            below = [name for name in names if name.startswith(parent)]
    return names


def _hint(checkpoint: Checkpoint, misnamed: bool, reshaped: Mapping[str, torch.Tensor]) -> str:
    if misnamed:
        written_by = f"; it was written for arch '{checkpoint.arch}'" if checkpoint.arch else ""
        return (
            "build the network that was trained: this is another architecture, or one with other "
            f"layers (bias, normalisation, deconvolution){written_by}"
        )
    if all(re.search(r"(^|\.)running_(deconv|mean1?)$", name) for name in reshaped):
        return "build the network with the block size and groups that it was trained with"
    pairs = [(tuple(checkpoint.state_dict[name].shape), t.shape) for name, t in reshaped.items()]
    counts = {(found[:1], wanted[:1]) for found, wanted in pairs}
    # An auxiliary classifier has as many as the classifier itself.
    if len(counts) == 1 and all(f and w and f[1:] == w[1:] for f, w in pairs):
        (found,), (wanted,) = counts.pop()
        return (
            f"build the network with {found} classes, which is what it was trained for, "
            f"not {wanted}"
        )
    return "build the network with the widths and block sizes that it was trained with"


def _has_tensors(value: object) -> bool:
    return isinstance(value, dict) and any(_is_tensor(v) for v in value.values())


def _is_tensor(value: object) -> bool:
    return isinstance(value, compat.torch().Tensor)


def _plain(value: object) -> Scalar | None:
    if _is_tensor(value) and value.numel() == 1:  # type: ignore[attr-defined]
        value = value.item()  # type: ignore[attr-defined]
    return value if isinstance(value, int | float | str) else None


def _shorten(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

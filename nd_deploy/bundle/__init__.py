"""The folder that a conversion makes and every other command reads.

`model.onnx` is the deployable model, `manifest.json` says what it is and holds the hash of every
file, `fold.json` says what became of each ND layer, `parity.json` what was compared and with which
result, `reference.npz` holds what to compare with. `unfolded.onnx`, if it was asked for, is the
model before folding.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.atomic import new_folder
from nd_deploy.bundle.files import save_arrays, sha256, why_not_written
from nd_deploy.bundle.manifest import (
    DISTRUST,
    MANIFEST,
    REMADE,
    Manifest,
    TensorInfo,
    read_manifest,
    versions,
)
from nd_deploy.bundle.overwrite import check_output
from nd_deploy.errors import BundleError, InputError
from nd_deploy.parity.report import ParityReport

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from nd_deploy.passes.base import Decision
    from nd_deploy.preprocess import Preprocessing

__all__ = [
    "Bundle",
    "Manifest",
    "TensorInfo",
    "check_output",
    "read_bundle",
    "write_bundle",
]

MODEL = "model.onnx"
FOLD = "fold.json"
PARITY = "parity.json"
REFERENCE = "reference.npz"
UNFOLDED = "unfolded.onnx"

_DECISION = {"layer", "op_type", "action", "reason", "into", "certificates"}
_ALWAYS = (MODEL, FOLD, PARITY, REFERENCE)


@dataclass(frozen=True)
class Bundle:
    """A converted network on disk.

    Attributes:
        path: the folder.
        manifest: what it says about itself.
        decisions: what became of each ND layer, as `Decision.as_dict` gives it.
        warnings: what is worth knowing about the checkpoint.
        parity: the gates, as they were at conversion.
    """

    path: Path
    manifest: Manifest
    decisions: list[dict[str, Any]]
    warnings: list[str]
    parity: ParityReport

    @property
    def model_path(self) -> Path:
        """The deployable model."""
        return self.path / MODEL

    @property
    def unfolded_path(self) -> Path | None:
        """The model before folding, if it was kept."""
        return self.path / UNFOLDED if UNFOLDED in self.manifest.files else None

    def reference(self) -> dict[str, NDArray[Any]]:
        """Load the parity inputs and PyTorch's outputs."""
        import numpy as np

        path = self.path / REFERENCE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read: {error}", REMADE) from error


def write_bundle(
    output: Path | str,
    *,
    model: onnx.ModelProto,
    network: str,
    decisions: Sequence[Decision],
    warnings: Sequence[str],
    parity: ParityReport,
    reference: Mapping[str, NDArray[Any]],
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    checkpoint: Mapping[str, str | None] | None = None,
    seed: int | None = None,
    command: str | None = None,
    unfolded: onnx.ModelProto | None = None,
    overwrite: bool = False,
    external_data_over: int = 2**30,
) -> Bundle:
    """Write a bundle, whole or not at all.

    Args:
        output: the folder to make.
        model: the deployable model; left unchanged.
        network: the network's name, or where its code is.
        decisions: what became of each ND layer.
        warnings: what is worth knowing about the checkpoint.
        parity: the result of the gates.
        reference: arrays by name; what `Bundle.reference` gives back.
        preprocessing: how an image becomes the model's input, where known.
        labels: the names of the classes, where known.
        checkpoint: name, sha256, format and arch of the weights' file.
        seed: of the parity inputs.
        command: the command line.
        unfolded: the model before folding, to be kept beside the other.
        overwrite: replace a bundle that is at `output`.
        external_data_over: bytes of weights from which they get a file of their own.

    Returns:
        The bundle as it lies on disk.

    Raises:
        BundleError: `output` may not be written, or cannot: a full disk, a missing permission.
        InputError: the labels are not as many as the model's classes.
    """
    from nd_deploy.bundle import onnx_file

    output = Path(output)
    check_output(output, overwrite)
    record = Manifest(
        network=network,
        inputs=onnx_file.tensors(model.graph.input),
        outputs=onnx_file.tensors(model.graph.output),
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
        checkpoint=None if checkpoint is None else dict(checkpoint),
        files={},
        versions=versions(),
        seed=seed,
        command=command,
        precision=onnx_file.precision(model),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        nodes_left=onnx_file.node_counts(model),
        nd_layers=sum(decision.op_type.startswith("ND") for decision in decisions),
    )
    _check_labels(record)
    models = {MODEL: model} | ({UNFOLDED: unfolded} if unfolded is not None else {})
    layers = [decision.as_dict() for decision in decisions]
    try:
        with new_folder(output) as folder:
            for name, proto in models.items():
                onnx_file.save(proto, folder / name, external_data_over)
            _write_json(folder / FOLD, {"layers": layers, "warnings": list(warnings)})
            _write_json(folder / PARITY, parity.as_dict())
            save_arrays(folder / REFERENCE, reference)
            record = replace(record, files={p.name: sha256(p) for p in sorted(folder.iterdir())})
            _write_json(folder / MANIFEST, record.as_dict())
    except OSError as error:
        needed = sum(map(onnx_file.weight_bytes, models.values()))
        needed += sum(array.nbytes for array in reference.values())
        reason, remedy = why_not_written(error, needed)
        raise BundleError(f"{output} cannot be written: {reason}", remedy) from error
    return Bundle(output, record, layers, list(warnings), parity)


def read_bundle(path: Path | str, check_files: bool = True) -> Bundle:
    """Read a bundle.

    Args:
        path: the folder.
        check_files: compare every file with its hash in the manifest.

    Raises:
        BundleError: the folder is missing, is no bundle, was written by a newer nd-deploy, or is
            not as it was written.
    """
    path = Path(path)
    if not path.is_dir():
        kind = "is a file" if path.exists() else "does not exist"
        raise BundleError(f"{path} {kind}", "name the folder that 'nd-deploy convert' wrote")
    manifest = read_manifest(path)
    unlisted = [name for name in _ALWAYS if name not in manifest.files]
    if unlisted:
        raise BundleError(f"the manifest of {path} does not list {unlisted[0]}", REMADE)
    for name, expected in manifest.files.items():
        if not (path / name).is_file():
            raise BundleError(f"the bundle {path} lacks {name}", REMADE)
        if check_files and sha256(path / name) != expected:
            raise BundleError(f"{path / name} has changed since it was written", REMADE)
    if check_files:
        _check_references(path, manifest)
    try:
        fold, parity = strict_json.read(path / FOLD), strict_json.read(path / PARITY)
        return Bundle(
            path,
            manifest,
            [_with_numbers(layer) for layer in fold["layers"]],
            list(map(str, fold["warnings"])),
            ParityReport.from_dict(_parity_numbers(parity)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path}: {FOLD} or {PARITY} is malformed ({error})", REMADE) from error


def _check_labels(manifest: Manifest) -> None:
    shape = manifest.outputs[0].shape if manifest.outputs else ()
    classes = shape[-1] if len(shape) == 2 else None
    if manifest.labels and isinstance(classes, int) and len(manifest.labels) != classes:
        raise InputError(
            f"there are {len(manifest.labels)} labels for the network's {classes} classes",
            "give one label per class, in the order of the network's outputs",
        )


def _write_json(path: Path, value: object) -> None:
    path.write_text(strict_json.dumps(value), encoding="utf-8")


def _check_references(path: Path, manifest: Manifest) -> None:
    """Refuse a model whose weights lie in a file that is not the bundle's."""
    from nd_deploy.bundle import onnx_file

    for name in (MODEL, UNFOLDED):
        if name not in manifest.files:
            continue
        try:
            outside = sorted(onnx_file.references_in(path / name) - set(manifest.files))
        except ValueError as error:
            raise BundleError(f"{path / name} is no ONNX model", REMADE) from error
        if outside:
            raise BundleError(
                f"{path / name} reads a file that is not the bundle's: {outside[0]!r}", DISTRUST
            )


def _with_numbers(layer: dict[str, Any]) -> dict[str, Any]:
    missing = _DECISION - layer.keys()
    if missing:
        raise ValueError(f"a layer lacks {', '.join(sorted(missing))}")
    certificates = [
        {name: strict_json.number(value) for name, value in certificate.items()}
        for certificate in layer["certificates"]
    ]
    return layer | {"certificates": certificates}


def _parity_numbers(report: dict[str, Any]) -> dict[str, Any]:
    gates = [
        gate | {name: strict_json.number(gate[name]) for name in ("error", "budget")}
        for gate in report["gates"]
    ]
    return report | {"gates": gates}

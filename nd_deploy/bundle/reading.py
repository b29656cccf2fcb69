"""Reading a bundle, and distrusting it until every file is what the manifest says."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.manifest import DISTRUST, REMADE, Manifest, read_manifest
from nd_deploy.errors import BundleError
from nd_deploy.parity.report import ParityReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "model.onnx"
FOLD = "fold.json"
PARITY = "parity.json"
REFERENCE = "reference.npz"
SPECTRA = "spectra.npz"
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
        return self._arrays(REFERENCE)

    def spectra(self) -> dict[str, NDArray[Any]]:
        """Load what `nd_deploy.explain` keeps of each D.

        Raises:
            BundleError: the bundle was written by an nd-deploy that did not keep it.
        """
        if SPECTRA not in self.manifest.files:
            raise BundleError(
                f"{self.path} has no {SPECTRA}, and its folded model no longer holds D: an older "
                "nd-deploy wrote it",
                "convert the network again, or explain the network itself: "
                "nd-deploy explain SOURCE --checkpoint FILE",
            )
        return self._arrays(SPECTRA)

    def _arrays(self, name: str) -> dict[str, NDArray[Any]]:
        import numpy as np

        path = self.path / name
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read: {error}", REMADE) from error


def read_bundle(path: Path | str, check_files: bool = True) -> Bundle:
    """Read a bundle.

    Args:
        path: the folder.
        check_files: compare every file with its hash in the manifest.

    Returns:
        The bundle, without its model and arrays.

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

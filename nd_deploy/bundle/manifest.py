"""What a bundle says about itself."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.fields import flag, optional, required
from nd_deploy.errors import BundleError, InputError
from nd_deploy.preprocess import Preprocessing

MANIFEST = "manifest.json"
KIND = "nd-deploy bundle"
SCHEMA_VERSION = 1

RUNNING, BATCH = "running", "batch"
STATISTICS = (RUNNING, BATCH)
"""What ND layers whiten by at inference."""

REMADE = "convert the network again, or copy the bundle again from where it is whole"
DISTRUST = "nd-deploy never writes such a bundle: do not use it"
_CONVERTED = "name the folder that 'nd-deploy convert' wrote"


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of the model.

    Attributes:
        name: its name.
        dtype: its element type in numpy's words, such as "float32".
        shape: a number for each fixed axis, a name for each dynamic one.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TensorInfo:
        """The inverse of `dataclasses.asdict`."""
        shape = tuple(fields["shape"])
        if not all(isinstance(size, int | str) for size in shape):
            raise ValueError(f"{shape} is no shape")
        return cls(str(fields["name"]), str(fields["dtype"]), shape)


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself.

    Attributes:
        network: the network's name, or where its code is.
        inputs: what the model reads.
        outputs: what it gives.
        preprocessing: how an image becomes its input, where known.
        labels: the names of the classes, where known.
        checkpoint: name, sha256, format and arch of the weights' file, if they came from one.
        files: the sha256 of every file beside the manifest.
        versions: of nd-deploy and of what made the bundle.
        seed: of the parity inputs.
        command: the command line that made the bundle.
        precision: the dtype of the weights; several are joined by "+".
        created: when, in UTC.
        nodes_left: how many nodes of each op type the model has.
        nd_layers: how many ND layers the network had.
        target: the kind of host that the model is written for; see `nd_deploy.targets`.
        batch_dependent: whether outputs depend on what else is in the batch, because layers whiten
            by the statistics of the batch.
        origin: how to build the network again, as `nd_deploy.origin.record` puts it, where known.
        schema_version: of this record.
    """

    network: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    checkpoint: dict[str, str | None] | None
    files: dict[str, str]
    versions: dict[str, str]
    seed: int | None
    command: str | None
    precision: str
    created: str
    nodes_left: dict[str, int]
    nd_layers: int
    target: str = "portable"
    batch_dependent: bool = False
    origin: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def statistics(self) -> str:
        """What ND layers whiten by, one of STATISTICS."""
        return BATCH if self.batch_dependent else RUNNING

    def as_dict(self) -> dict[str, Any]:
        """The manifest as JSON-ready fields."""
        preprocessing = self.preprocessing and self.preprocessing.as_dict()
        return asdict(self) | {"kind": KIND, "preprocessing": preprocessing}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Manifest:
        """The inverse of `as_dict`.

        Raises:
            ValueError: a field is missing or of another type.
        """
        fields = {"target": "portable", "batch_dependent": False, **fields}
        preprocessing = optional(fields, "preprocessing", dict)
        labels = optional(fields, "labels", list)
        return cls(
            network=required(fields, "network", str),
            inputs=tuple(map(TensorInfo.from_dict, required(fields, "inputs", list))),
            outputs=tuple(map(TensorInfo.from_dict, required(fields, "outputs", list))),
            preprocessing=None if preprocessing is None else Preprocessing.from_dict(preprocessing),
            labels=None if labels is None else tuple(map(str, labels)),
            checkpoint=optional(fields, "checkpoint", dict),
            files=required(fields, "files", dict),
            versions=required(fields, "versions", dict),
            seed=optional(fields, "seed", int),
            command=optional(fields, "command", str),
            precision=required(fields, "precision", str),
            created=required(fields, "created", str),
            nodes_left=required(fields, "nodes_left", dict),
            nd_layers=required(fields, "nd_layers", int),
            target=required(fields, "target", str),
            batch_dependent=flag(fields, "batch_dependent"),
            origin=optional(fields, "origin", dict),
            schema_version=required(fields, "schema_version", int),
        )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the bundle `folder`.

    Raises:
        BundleError: there is none, it is malformed, from a newer nd-deploy, or it names files
            outside the bundle.
    """
    path = folder / MANIFEST
    try:
        fields = strict_json.read(path)
    except FileNotFoundError as error:
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}", _CONVERTED) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}", _CONVERTED) from error
    except ValueError as error:
        raise BundleError(f"{path} is malformed: {error}", REMADE) from error
    if fields.get("kind") != KIND:
        raise BundleError(f"{folder} is no bundle: its {MANIFEST} is something else's", _CONVERTED)
    schema = fields.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise BundleError(
            f"{folder} was written by a newer nd-deploy (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION})",
            "pip install --upgrade nd-deploy",
        )
    try:
        manifest = Manifest.from_dict(fields)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise BundleError(f"{path} is malformed: {error}", REMADE) from error
    for name in manifest.files:
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise BundleError(f"{path} names a file outside the bundle: {name!r}", DISTRUST)
    return manifest


def versions() -> dict[str, str]:
    """The versions of what is at work, without importing what is not."""
    import numpy
    import onnx

    from nd_deploy import __version__

    found = {
        "nd_deploy": __version__,
        "numpy": numpy.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
    }
    for name in ("torch", "onnxruntime"):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found

"""Writing a bundle, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle import strict_json
from nd_deploy.bundle.atomic import new_folder
from nd_deploy.bundle.files import save_arrays, sha256, why_not_written
from nd_deploy.bundle.manifest import MANIFEST, Manifest, versions
from nd_deploy.bundle.overwrite import check_output
from nd_deploy.bundle.reading import FOLD, MODEL, PARITY, REFERENCE, SPECTRA, UNFOLDED, Bundle
from nd_deploy.errors import BundleError, InputError
from nd_deploy.nd.ops import CENTRE

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from nd_deploy.parity.report import ParityReport
    from nd_deploy.passes.base import Decision

EXTERNAL_DATA_OVER = 2**30


class BundleDraft:
    """A bundle that is being written, in a folder of its own.

    Models are saved first, so that they can be dropped from memory and tried from their files;
    `finish` writes the rest.

    Args:
        folder: where the files are put for now.
        output: where the bundle will be.
        external_data_over: bytes of weights from which they get a file of their own.
    """

    def __init__(self, folder: Path, output: Path, external_data_over: int) -> None:
        self.folder = folder
        self.output = output
        self.needed = 0
        self._external_data_over = external_data_over
        self._facts: dict[str, Any] = {}

    def save(self, model: onnx.ModelProto, name: str = MODEL) -> Path:
        """Write a model, leaving it unchanged.

        Args:
            model: the deployable model, or another one to keep beside it.
            name: its file in the bundle.

        Returns:
            The file, until the bundle is finished.
        """
        from nd_deploy.bundle import onnx_file

        self.needed += onnx_file.weight_bytes(model)
        if name == MODEL:
            self._facts = {
                "inputs": onnx_file.tensors(model.graph.input),
                "outputs": onnx_file.tensors(model.graph.output),
                "precision": onnx_file.precision(model),
                "nodes_left": onnx_file.node_counts(model),
            }
        onnx_file.save(model, self.folder / name, self._external_data_over)
        return self.folder / name

    def save_to_try(self, model: onnx.ModelProto) -> Path:
        """Write a copy to run before the bundle is finished, which is not part of it.

        Its weights are in a file of their own, which a runtime maps into memory; from within the
        model file it would copy them twice.

        Args:
            model: left unchanged.

        Returns:
            The file, until the bundle is finished.
        """
        from nd_deploy.bundle import onnx_file

        path = self.folder.parent / "trial.onnx"
        onnx_file.save(model, path, external_data_over=0)
        return path

    def finish(
        self,
        *,
        network: str,
        decisions: Sequence[Decision],
        warnings: Sequence[str],
        parity: ParityReport,
        reference: Mapping[str, NDArray[Any]],
        spectra: Mapping[str, NDArray[Any]] | None = None,
        labels: Sequence[str] | None = None,
        checkpoint: Mapping[str, str | None] | None = None,
        **optional: Any,  # noqa: ANN401 - the manifest's own fields
    ) -> Bundle:
        """Write everything but the models.

        Args:
            network: the network's name, or where its code is.
            decisions: what became of each ND layer.
            warnings: what is worth knowing about the checkpoint.
            parity: the result of the gates.
            reference: arrays by name; what `Bundle.reference` gives back.
            spectra: arrays by name; what `Bundle.spectra` gives back, where known.
            labels: the names of the classes, where known.
            checkpoint: name, sha256, format and arch of the weights' file.
            **optional: `preprocessing` of images, `seed` of the parity inputs, the `command` line
                and the `origin`, where known; `target` and `batch_dependent` where they are not
                the usual.

        Returns:
            The bundle as it will lie at `output`.

        Raises:
            InputError: the labels are not as many as the model's classes.
        """
        layers = [decision.as_dict() for decision in decisions]
        arrays = [*reference.values(), *(spectra or {}).values()]
        self.needed += sum(array.nbytes for array in arrays)
        _write_json(self.folder / FOLD, {"layers": layers, "warnings": list(warnings)})
        _write_json(self.folder / PARITY, parity.as_dict())
        save_arrays(self.folder / REFERENCE, reference)
        if spectra is not None:
            save_arrays(self.folder / SPECTRA, spectra)
        manifest = Manifest(
            network=network,
            labels=None if labels is None else tuple(labels),
            checkpoint=None if checkpoint is None else dict(checkpoint),
            files={path.name: sha256(path) for path in sorted(self.folder.iterdir())},
            versions=versions(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            nd_layers=sum(_is_layer(decision.op_type) for decision in decisions),
            **{"preprocessing": None, "seed": None, "command": None, **optional},
            **self._facts,
        )
        check_labels(manifest.labels, manifest.outputs[0].shape if manifest.outputs else ())
        _write_json(self.folder / MANIFEST, manifest.as_dict())
        return Bundle(self.output, manifest, layers, list(warnings), parity)


@contextlib.contextmanager
def new_bundle(
    output: Path | str, overwrite: bool = False, external_data_over: int = EXTERNAL_DATA_OVER
) -> Iterator[BundleDraft]:
    """A draft that becomes the bundle at `output` when the block ends well.

    If the block raises, nothing is written and what was at `output` stays.

    Args:
        output: the folder to make.
        overwrite: replace a bundle that is there.
        external_data_over: bytes of weights from which they get a file of their own.

    Raises:
        BundleError: `output` may not be written, or cannot: a full disk, a missing permission.
    """
    output = Path(output)
    check_output(output, overwrite)
    needed = 0
    try:
        with new_folder(output) as folder:
            draft = BundleDraft(folder, output, external_data_over)
            try:
                yield draft
            finally:
                needed = draft.needed
    except OSError as error:
        reason, remedy = why_not_written(error, needed)
        raise BundleError(f"{output} cannot be written: {reason}", remedy) from error


def write_bundle(
    output: Path | str,
    *,
    model: onnx.ModelProto,
    unfolded: onnx.ModelProto | None = None,
    overwrite: bool = False,
    external_data_over: int = EXTERNAL_DATA_OVER,
    **contents: Any,  # noqa: ANN401 - the arguments of BundleDraft.finish
) -> Bundle:
    """Write a bundle of a model that is in memory, whole or not at all.

    Args:
        output: as of `new_bundle`, like `overwrite` and `external_data_over`.
        model: the deployable model; left unchanged.
        unfolded: the model before folding, to be kept beside the other.
        overwrite: see `output`.
        external_data_over: see `output`.
        **contents: the arguments of `BundleDraft.finish`.

    Returns:
        The bundle as it lies on disk.

    Raises:
        BundleError: `output` may not be written, or cannot: a full disk, a missing permission.
        InputError: the labels are not as many as the model's classes.
    """
    with new_bundle(output, overwrite, external_data_over) as draft:
        draft.save(model)
        if unfolded is not None:
            draft.save(unfolded, UNFOLDED)
        return draft.finish(**contents)


def check_labels(labels: Sequence[str] | None, output: Sequence[int | str]) -> None:
    """Refuse labels that are not one a class.

    Args:
        labels: the names of the classes, if there are any.
        output: the shape of the network's first output; (batch, classes) for a classifier.

    Raises:
        InputError: there are more or fewer than classes.
    """
    classes = output[-1] if len(output) == 2 else None
    if labels and isinstance(classes, int) and len(labels) != classes:
        raise InputError(
            f"there are {len(labels)} labels for the network's {classes} classes",
            "give one label per class, in the order of the network's outputs",
        )


def _write_json(path: Path, value: object) -> None:
    path.write_text(strict_json.dumps(value), encoding="utf-8")


def _is_layer(op_type: str) -> bool:
    """Whether a decision is about an ND layer; a centre is the part of one."""
    return op_type.startswith("ND") and op_type != CENTRE

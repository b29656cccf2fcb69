"""From what a bundle says of its model to what clients are told."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.bundle.manifest import REMADE, Manifest, TensorInfo
from nd_deploy.bundle.writing import check_labels
from nd_deploy.errors import InputError
from nd_deploy.preprocess import Preprocessing, default_preprocessing
from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.datatypes import datatype_of


def describe(
    name: str,
    version: str,
    manifest: Manifest,
    labels: Sequence[str] | None,
    max_batch: int,
) -> ModelSpec:
    """Describe a model; what it runs on is not known before it is opened.

    Args:
        name: under which it is served.
        version: of it.
        manifest: of its bundle.
        labels: the operator's names of the classes; None for the bundle's own.
        max_batch: the largest batch of a request, where the model leaves the batch open.

    Raises:
        InputError: there are no inputs or no outputs, a tensor's dtype has no name in the protocol,
            or the labels do not fit.
    """
    if not manifest.inputs or not manifest.outputs:
        raise InputError(f"model {name!r} has no inputs or no outputs", REMADE)
    batch = _open_batch(manifest.inputs)
    joins = batch is not None and all(port.shape[:1] == (batch,) for port in manifest.outputs)
    names = _fitting_labels(name, manifest, labels)
    return ModelSpec(
        name=name,
        version=version,
        inputs=tuple(_tensor(name, port) for port in manifest.inputs),
        outputs=tuple(
            _tensor(name, port, len(names) if index == 0 else 0)
            for index, port in enumerate(manifest.outputs)
        ),
        max_batch=0 if batch is None else max_batch,
        batching=joins and not manifest.batch_dependent,
        labels=names,
        preprocessing=_preprocessing(manifest),
    )


def _open_batch(inputs: Sequence[TensorInfo]) -> str | None:
    """The name of the open axis that every input begins with, if they do."""
    first = {port.shape[:1] for port in inputs}
    size = next(iter(first), ()) if len(first) == 1 else ()
    return size[0] if size and isinstance(size[0], str) else None


def _tensor(name: str, port: TensorInfo, label_count: int = 0) -> TensorSpec:
    try:
        datatype = datatype_of(port.dtype)
    except KeyError as error:
        raise InputError(
            f"model {name!r}: the Open Inference Protocol has no name for {port.dtype}, which "
            f"'{port.name}' is of",
            "convert the network with tensors of numbers",
        ) from error
    shape = tuple(size if isinstance(size, int) else -1 for size in port.shape)
    return TensorSpec(port.name, datatype, shape, label_count)


def _fitting_labels(name: str, manifest: Manifest, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the classes, where there is an output that has classes."""
    output = manifest.outputs[0]
    whose = "its bundle's labels" if labels is None else "the labels given"
    try:
        check_labels(labels or manifest.labels, output.shape)
    except InputError as error:
        raise InputError(f"model {name!r}, {whose}: {error.problem}", error.remedy) from error
    if len(output.shape) == 2:
        return tuple(labels or manifest.labels or ())
    if labels is not None:
        raise InputError(
            f"model {name!r} has labels given, but its output '{output.name}' {output.shape} is no "
            "score for each class",
            "serve it without labels",
        )
    return ()


def _preprocessing(manifest: Manifest) -> Preprocessing | None:
    """As 'nd-deploy run' has it."""
    if len(manifest.inputs) != 1:
        return None
    return manifest.preprocessing or default_preprocessing(manifest.inputs[0].shape[1:])

"""The models that take part in a measurement, with what they are run on and what they should give.

A model is run on its bundle's reference inputs, repeated to the batch that is asked for, so that
what it gives can be held against PyTorch's float64 outputs before it is timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.bundle import Bundle
from nd_deploy.bundle.files import sha256
from nd_deploy.bundle.manifest import TensorInfo
from nd_deploy.errors import GraphError, InputError
from nd_deploy.parity.reference import Reference
from nd_deploy.profiling.results import ModelRecord
from nd_deploy.profiling.subjects.base import NetworkSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

BUNDLE, NAIVE, ONNX = "bundle", "naive", "onnx"


@dataclass(frozen=True)
class Entry:
    """A model that takes part.

    Attributes:
        record: what the result says of it.
        files: its ONNX file for each runtime that may run it; "" is that for all others.
        network: for PyTorch; None where PyTorch has no part.
        inputs: what the ONNX model reads.
        reference: inputs and PyTorch's outputs.
        rename: the reference's name of each of the model's inputs, by the latter.
        nd_layers: the names of its ND layers.
        batch_dependent: whether outputs depend on what else is in the batch.
    """

    record: ModelRecord
    files: Mapping[str, Path]
    network: NetworkSource | None
    inputs: tuple[TensorInfo, ...]
    reference: Reference
    rename: Mapping[str, str]
    nd_layers: tuple[str, ...] = ()
    batch_dependent: bool = False

    @property
    def name(self) -> str:
        """In this measurement."""
        return self.record.name

    def file(self, runtime: str) -> Path:
        """What a runtime reads."""
        return self.files.get(runtime, self.files[""])

    def feeds(self, batch: int) -> dict[str, NDArray[Any]]:
        """Every input by name, of (batch, ...).

        Raises:
            InputError: the model does not take such a batch.
        """
        self._check_batch(batch)
        return {
            port.name: _repeat(self.reference.inputs[self.rename[port.name]], batch)
            for port in self.inputs
        }

    def truth(self, batch: int) -> list[NDArray[Any]] | None:
        """PyTorch's float64 outputs for `feeds`; None where the batch decides what they are."""
        if self.batch_dependent and batch != self.reference.samples:
            return None
        return [_repeat(output, batch) for output in self.reference.truth]

    def _check_batch(self, batch: int) -> None:
        for port in self.inputs:
            if port.shape and isinstance(port.shape[0], int) and port.shape[0] != batch:
                raise InputError(
                    f"--batch {batch}: {self.record.path or self.name} takes batches of "
                    f"{port.shape[0]} alone",
                    f"give --batch {port.shape[0]}, or convert the network without --static-batch",
                )


def bundle_entry(
    name: str, path: str, bundle: Bundle, files: Mapping[str, Path], network: NetworkSource | None
) -> Entry:
    """A bundle's own model.

    Args:
        name: in this measurement.
        path: of the bundle, as it was given.
        bundle: that was read.
        files: as of `Entry`.
        network: for PyTorch.
    """
    manifest = bundle.manifest
    digest = manifest.files[bundle.model_path.name]
    return Entry(
        ModelRecord(name, BUNDLE, path, digest, manifest.nd_layers),
        files,
        network,
        manifest.inputs,
        Reference.from_arrays(bundle.reference()),
        {port.name: port.name for port in manifest.inputs},
        tuple(decision["layer"] for decision in bundle.decisions),
        manifest.batch_dependent,
    )


def onnx_entry(name: str, kind: str, file: Path, given: str | None, like: Entry) -> Entry:
    """An ONNX file that is run on a bundle's inputs.

    Args:
        name: in this measurement.
        kind: NAIVE or ONNX.
        file: the model.
        given: its path as it was given; None where it was made for the measurement.
        like: the bundle whose inputs it takes, and whose outputs it should give.

    Raises:
        InputError: there is no such file, or it reads something else than the bundle.
        GraphError: it is no ONNX model.
    """
    inputs = _inputs_of(file, given or name)
    rename = _match(inputs, like, given or name)
    record = ModelRecord(name, kind, given, sha256(file), like.record.nd_layers)
    return Entry(
        record, {"": file}, None, inputs, like.reference, rename, like.nd_layers,
        like.batch_dependent,
    )  # fmt: skip


def _inputs_of(file: Path, name: str) -> tuple[TensorInfo, ...]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from nd_deploy.bundle.onnx_file import tensors

    if not file.is_file():
        raise InputError(f"--against {name}: there is no such file", "give the path of a model")
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise GraphError(
            f"--against {name} is no ONNX model", "give a file that torch.onnx.export wrote"
        ) from error
    # Older models list their weights among the inputs.
    weights = {tensor.name for tensor in model.graph.initializer}
    return tensors(port for port in model.graph.input if port.name not in weights)


def _match(inputs: Sequence[TensorInfo], like: Entry, name: str) -> dict[str, str]:
    """The bundle's input for each of the model's: that of the same name, else of the same place."""
    own, theirs = [port.name for port in inputs], [port.name for port in like.inputs]
    pairs = zip(own, own if set(own) == set(theirs) else theirs, strict=False)
    found = dict(pairs)
    for port in inputs:
        array = like.reference.inputs[like.rename[found[port.name]]] if port.name in found else None
        fits = (
            len(own) == len(theirs)
            and array is not None
            and array.dtype.name == port.dtype
            and _fits(port.shape, array.shape)
        )
        if not fits:
            raise InputError(
                f"--against {name} reads '{port.name}' {port.dtype} {_show(port.shape)}, which is "
                f"none of the inputs of {like.record.path or like.name}",
                "compare models of the same inputs: "
                + ", ".join(f"'{p.name}' {p.dtype} {_show(p.shape)}" for p in like.inputs),
            )
    return {mine: like.rename[theirs] for mine, theirs in found.items()}


def _fits(shape: tuple[int | str, ...], given: tuple[int, ...]) -> bool:
    """Whether an array suits, whatever its batch, which `Entry.feeds` looks at."""
    return len(shape) == len(given) and all(
        not isinstance(size, int) or size == there
        for size, there in zip(shape[1:], given[1:], strict=True)
    )


def _repeat(array: NDArray[Any], batch: int) -> NDArray[Any]:
    import numpy as np

    return np.ascontiguousarray(array[np.arange(batch) % len(array)])


def _show(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"

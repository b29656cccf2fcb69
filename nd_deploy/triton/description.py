"""A bundle as Triton serves it: what clients are told, and shapes to try it on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from nd_deploy.bundle.manifest import Manifest
from nd_deploy.errors import InputError
from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.models.description import describe
from nd_deploy.serve.settings import Settings

VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def describe_for_triton(name: str, manifest: Manifest, max_batch: int | None) -> ModelSpec:
    """Describe a model, with a largest batch where Triton can make batches of it.

    Where the batch is fixed at more than one, there are no labels: Triton would look for classes
    in all scores of the batch together.

    Args:
        name: of the model and its folder.
        manifest: of its bundle.
        max_batch: the largest batch; None for the server's own where the batch is open.

    Raises:
        InputError: the name, a dtype or a label is none that Triton takes, the labels are not as
            many as the classes, or a batch is given to a model whose batch is fixed.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} is no name for a model of Triton: it is a folder's, and part of every URL",
            "choose another: --name NAME, of letters, digits, '_', '.' and '-'",
        )
    if max_batch is not None and max_batch < 1:
        raise InputError(f"--max-batch is {max_batch}", "give a batch of at least 1")
    largest = Settings.max_batch if max_batch is None else max_batch
    spec = describe(name, VERSION, manifest, None, largest)
    if any(not tensor.shape or tensor.shape[0] != -1 for tensor in spec.outputs):
        # Triton would take the batch off outputs too.
        spec = replace(spec, max_batch=0, batching=False)
    if max_batch is not None and not spec.max_batch:
        tensors = ", ".join(f"{t.name} {list(t.shape)}" for t in (*spec.inputs, *spec.outputs))
        raise InputError(
            f"--max-batch: the batch is fixed, or is not the first axis of every tensor: {tensors}",
            "drop it, or convert the network with an open batch",
        )
    broken = [label for label in spec.labels if set(label) & {"\n", "\r"}]
    if broken:
        raise InputError(
            f"label {broken[0]!r} ends a line, and Triton reads a label a line",
            "convert the network with other labels",
        )
    spec = replace(spec, batching=spec.batching and spec.max_batch > 1)
    return spec if spec.max_batch or _is_one_score(spec) else _unlabelled(spec)


def _is_one_score(spec: ModelSpec) -> bool:
    """Whether a whole output is what labels are for: without a batch, Triton takes it so."""
    return math.prod(spec.outputs[0].shape) == len(spec.labels)


def _unlabelled(spec: ModelSpec) -> ModelSpec:
    outputs = tuple(replace(tensor, label_count=0) for tensor in spec.outputs)
    return replace(spec, labels=(), outputs=outputs)


def samples(
    spec: ModelSpec, references: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """A shape of each input that the model runs on, without the batch that Triton adds.

    Args:
        spec: of the model.
        references: whole shapes of inputs that it has run on, which open sizes are taken from.
    """
    return {tensor.name: _sample(spec, tensor, references) for tensor in spec.inputs}


def _sample(
    spec: ModelSpec, tensor: TensorSpec, references: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    known = references.get(tensor.name, ())
    if len(known) != len(tensor.shape):
        known = (1,) * len(tensor.shape)
    whole = tuple(
        size if size > 0 else other for size, other in zip(tensor.shape, known, strict=True)
    )
    # One value is to Triton an axis of 1.
    return (whole[1:] if spec.max_batch else whole) or (1,)

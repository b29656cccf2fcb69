"""What Triton's core refuses in a model configuration, and why; without the model.

After `ValidateModelConfig`, `ValidateInstanceGroup` and `ValidateModelIOConfig` of the core's
src/model_config_utils.cc, with what the documentation of the fields asks for besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from nd_deploy.triton.accelerators import (
    CUDA,
    FILES,
    OVERRIDDEN,
    PLATFORMS,
    PRECISION_MODES,
    TENSORRT,
    TENSORRT_KEYS,
)
from nd_deploy.triton.pbtxt import Message, many, one

_TYPES = tuple(
    f"TYPE_{name}"
    for name in (
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "FP32", "FP64", "BF16", "STRING"),
    )
)
_IMAGE_FORMATS = ("FORMAT_NHWC", "FORMAT_NCHW")


class Problem(NamedTuple):
    """Something that Triton refuses, or serves otherwise than meant.

    Attributes:
        what: is wrong, naming the field.
        why: it is wrong.
    """

    what: str
    why: str


def config_problems(config: Message, folder: str) -> Iterator[Problem]:
    """What is wrong with a configuration by itself.

    Args:
        config: as `pbtxt.loads` gives it.
        folder: the name of the model's folder.
    """
    yield from _identity(config, folder)
    batched = one(config, "max_batch_size", 0) > 0
    for kind in ("input", "output"):
        if not many(config, kind, dict):
            yield Problem(f"there is no {kind}", "the server is told to complete nothing by itself")
        for port in many(config, kind, dict):
            yield from _port(port, f"{kind} '{one(port, 'name', '')}'", batched)
    yield from _batching(config)
    yield from _groups(config)
    yield from _warm_ups(config)
    yield from _accelerators(config)


def backend_of(config: Message) -> str:
    """The backend: what is named, or else what the platform or the file's name tell; "" if none."""
    named = one(config, "backend", "")
    platform, file = one(config, "platform", ""), one(config, "default_model_filename", "")
    told = (b for b in PLATFORMS if platform == PLATFORMS[b] or file == FILES[b])
    return named or next(told, "")


def pairs(message: Message, field: str) -> dict[str, object]:
    """The entries of a map field."""
    return {
        one(entry, "key", ""): entry.get("value", [None])[-1]
        for entry in many(message, field, dict)
    }


def _identity(config: Message, folder: str) -> Iterator[Problem]:
    name, platform, backend = (
        one(config, "name", ""),
        one(config, "platform", ""),
        backend_of(config),
    )
    if name != folder:
        yield Problem(
            f"name is '{name}' in folder '{folder}'", "a model's name has to be its folder's"
        )
    if not backend:
        yield Problem("there is no backend", "nothing says what runs the model")
    elif backend in PLATFORMS and platform not in ("", PLATFORMS[backend]):
        yield Problem(
            f"platform is '{platform}' with backend '{backend}'",
            f"that backend's platform is '{PLATFORMS[backend]}'",
        )
    if one(config, "max_batch_size", 0) < 0:
        yield Problem("max_batch_size is negative", "0 is for a model that does not batch")


def _port(port: Message, place: str, batched: bool) -> Iterator[Problem]:
    dims = many(port, "dims", int)
    if not one(port, "name", ""):
        yield Problem(f"{place} has no name", "requests name their tensors")
    if one(port, "data_type", "") not in _TYPES:
        yield Problem(
            f"{place} has data_type '{one(port, 'data_type', '')}'",
            f"Triton's types are {', '.join(_TYPES)}",
        )
    if not dims:
        yield Problem(f"{place} has no dims", "Triton takes no scalars")
    if any(size < 1 and size != -1 for size in dims):
        yield Problem(f"{place} has dims {dims}", "a size is at least 1, or -1 for an open one")
    if one(port, "format", "") in _IMAGE_FORMATS and len(dims) != 3:
        yield Problem(f"{place} has a format and dims {dims}", "an image has three axes")
    for reshape in many(port, "reshape", dict):
        shape = many(reshape, "shape", int)
        if not shape and not batched:
            yield Problem(f"{place} is a scalar", "Triton takes none but in a batch")
        if -1 not in (*dims, *shape) and math.prod(dims) != math.prod(shape):
            yield Problem(
                f"{place} has dims {dims} and reshape {shape}", "they hold as many values"
            )


def _batching(config: Message) -> Iterator[Problem]:
    largest = one(config, "max_batch_size", 0)
    for batching in many(config, "dynamic_batching", dict):
        if largest < 1:
            yield Problem(
                f"there is dynamic_batching with max_batch_size {largest}",
                "requests are joined only where the batch is open",
            )
        for size in many(batching, "preferred_batch_size", int):
            if not 0 < size <= largest:
                yield Problem(
                    f"preferred_batch_size has {size}", f"a batch is from 1 to {largest} here"
                )
        levels = one(batching, "priority_levels", 0)
        if levels and not 0 < one(batching, "default_priority_level", 0) <= levels:
            yield Problem(
                "default_priority_level is none of the priority_levels",
                "a request without a priority has that one",
            )


def _groups(config: Message) -> Iterator[Problem]:
    for group in many(config, "instance_group", dict):
        kind, gpus = one(group, "kind", "KIND_AUTO"), many(group, "gpus", int)
        if kind in ("KIND_CPU", "KIND_MODEL") and gpus:
            yield Problem(f"instance_group of {kind} names GPUs", "only KIND_GPU takes them")
        if one(group, "count", 1) < 1:
            yield Problem("instance_group has no instance", "count is at least 1")
        profiles = many(group, "profile", str)
        if profiles and backend_of(config) != "tensorrt":
            yield Problem("instance_group names profiles", "only a plan of TensorRT has them")
        if not all(profile.isdecimal() for profile in profiles):
            yield Problem(
                f"instance_group has profile {profiles}", "a profile is told by its number"
            )


def _warm_ups(config: Message) -> Iterator[Problem]:
    largest = max(1, one(config, "max_batch_size", 0))
    inputs = {one(port, "name", "") for port in many(config, "input", dict)}
    for sample in many(config, "model_warmup", dict):
        place = f"model_warmup '{one(sample, 'name', '')}'"
        if not 0 <= one(sample, "batch_size", 0) <= largest:
            yield Problem(
                f"{place} has a batch of {sample['batch_size'][-1]}", f"{largest} is most"
            )
        given = pairs(sample, "inputs")
        if set(given) != inputs:
            yield Problem(
                f"{place} has inputs {sorted(given)}", f"the model's are {sorted(inputs)}"
            )
        for name, value in given.items():
            dims = many(value, "dims", int) if isinstance(value, dict) else []
            if not dims or min(dims) < 1:
                yield Problem(
                    f"{place} has dims {dims} of '{name}'", "a sample leaves nothing open"
                )


def _accelerators(config: Message) -> Iterator[Problem]:
    nothing: Message = {}
    execution = one(one(config, "optimization", nothing), "execution_accelerators", nothing)
    parameters = pairs(config, "parameters")
    for accelerator in many(execution, "gpu_execution_accelerator", dict):
        name, options = one(accelerator, "name", ""), pairs(accelerator, "parameters")
        if name not in (TENSORRT, CUDA):
            yield Problem(
                f"accelerator '{name}' is unknown", f"ONNX Runtime's are {TENSORRT} and {CUDA}"
            )
        if name == TENSORRT:
            yield from _tensorrt(options)
        for key in OVERRIDDEN if name == CUDA and parameters else ():
            if key in options:
                yield Problem(
                    f"{key} is an option of accelerator '{CUDA}'",
                    "the backend overwrites it as soon as the model has parameters: set it there",
                )


def _tensorrt(options: dict[str, object]) -> Iterator[Problem]:
    for key in sorted(set(options) - TENSORRT_KEYS):
        yield Problem(
            f"accelerator '{TENSORRT}' has option '{key}'",
            "the backend refuses what it does not know",
        )
    mode = options.get("precision_mode", "FP32")
    if mode not in PRECISION_MODES:
        yield Problem(f"precision_mode is {mode!r}", f"it is one of {', '.join(PRECISION_MODES)}")

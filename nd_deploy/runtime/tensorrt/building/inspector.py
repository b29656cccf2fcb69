"""Reads layer precisions back from a built engine, where it can be loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.building.precision import LayerPrecision

ENGINE = "the engine's inspector"
NETWORK = "the parsed network"

# How formats of tensors are described, such as "Channel major FP16 format where channel % 8 == 0".
_TYPES = (
    (re.compile(r"bfloat16|\bbf16\b", re.IGNORECASE), "bfloat16"),
    (re.compile(r"\b(fp16|half)\b", re.IGNORECASE), "float16"),
    (re.compile(r"\b(fp32|float|tf32)\b", re.IGNORECASE), "float32"),
    (re.compile(r"\bfp8", re.IGNORECASE), "float8"),
    (re.compile(r"\bfp4", re.IGNORECASE), "float4"),
    (re.compile(r"\bint8\b", re.IGNORECASE), "int8"),
)


def inspect_engine(trt: TensorRT, logger: Any, plan: bytes, embedded: bool) -> str | None:  # noqa: ANN401
    """The inspector's JSON of an engine, or None if it cannot be loaded here.

    Args:
        trt: the module.
        logger: TensorRT's.
        plan: the engine, built just now.
        embedded: whether it carries plugin libraries, which then have to be allowed.
    """
    runtime = trt.Runtime(logger)
    compat.allow_host_code(runtime, embedded)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return None
    information = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON
    )
    return str(information)


def parse_information(text: str) -> list[LayerPrecision]:
    """The layers of an engine that give floats, from the inspector's JSON.

    Args:
        text: of an engine that was built with detailed profiling verbosity.

    Returns:
        The layers in order; none if the text does not tell.
    """
    try:
        layers = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return []
    return [
        LayerPrecision(str(layer.get("Name", "")), str(layer.get("LayerType", "")), precision)
        for layer in layers
        if isinstance(layer, dict) and (precision := _precision(layer)) is not None
    ]


def require_types(found: Sequence[LayerPrecision], network: Sequence[LayerPrecision]) -> None:
    """Refuse an engine that computes in a type that its network does not have.

    Float32 is wider than what stands for it, and so passes.

    Args:
        found: the engine's layers.
        network: the layers that it was built from.

    Raises:
        BackendError: a layer is of another type.
    """
    allowed = {layer.precision for layer in network} | {"float32"}
    for layer in found:
        if layer.precision not in allowed:
            raise BackendError(
                f"layer '{layer.layer}' of the engine is {layer.precision}, and the model has "
                f"{', '.join(sorted(allowed))} alone",
                "try another version of TensorRT, and do not use this engine",
            )


def _precision(layer: dict[str, Any]) -> str | None:
    for description in _descriptions(layer):
        for pattern, name in _TYPES:
            if pattern.search(description):
                return name
    return None


def _descriptions(layer: dict[str, Any]) -> Iterator[str]:
    """What is said of the layer's outputs; its key has changed its name between versions."""
    for output in layer.get("Outputs", []):
        if isinstance(output, dict):
            yield from (
                str(output[key]) for key in output if re.search("datatype|format", key, re.I)
            )

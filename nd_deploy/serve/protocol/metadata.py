"""What the server says of itself and its models, as dicts that become JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from nd_deploy.serve.exchange import ModelSpec, ModelState, TensorSpec
from nd_deploy.serve.protocol.errors import bad_request, shown

# perf_analyzer asks for statistics only where they are announced. Triton's "parameters", which
# passes custom ones on to models, is missing because unknown parameters are refused.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "schedule_policy",
    "statistics",
)


def live() -> dict[str, Any]:
    """The protocol's server live JSON object; a server that is not live says nothing."""
    return {"live": True}


def server_ready(ready: bool) -> dict[str, Any]:
    """The protocol's server ready JSON object."""
    return {"ready": ready}


def model_ready(spec: ModelSpec) -> dict[str, Any]:
    """The protocol's model ready JSON object, of a model that is."""
    return {"name": spec.name, "ready": True}


def server_metadata(version: str) -> dict[str, Any]:
    """The protocol's server metadata JSON object.

    Args:
        version: of nd_deploy.
    """
    return {"name": "nd-deploy", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(spec: ModelSpec) -> dict[str, Any]:
    """The protocol's model metadata JSON object. Shapes have the batch."""
    return {
        "name": spec.name,
        "versions": [spec.version],
        "platform": spec.platform,
        "inputs": [_tensor(tensor) for tensor in spec.inputs],
        "outputs": [_tensor(tensor) for tensor in spec.outputs],
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def repository_index(states: Sequence[ModelState], only_ready: bool) -> list[dict[str, Any]]:
    """The repository index response of Triton's model repository extension.

    Args:
        states: of all models.
        only_ready: whether the client wants no others.
    """
    return [
        {
            "name": state.name,
            "version": state.version,
            "state": state.state,
            "reason": state.reason,
        }
        for state in states
        if state.state == "READY" or not only_ready
    ]


def index_only_ready(body: bytes) -> bool:
    """Whether a repository index request wants models that are ready alone.

    Args:
        body: of the request; clients send none, or a JSON object with "ready".

    Raises:
        Refusal: 400, it is something else.
    """
    if not body:
        return False
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request is no valid JSON: {error}") from error
    ready = request.get("ready", False) if isinstance(request, dict) else None
    if not isinstance(ready, bool):
        raise bad_request(f"the request is {shown(request)}, and not ready: true or false")
    return ready

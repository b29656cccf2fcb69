"""A model's configuration in the terms of Triton's model_config.proto.

REST and gRPC give it to clients that expect Triton, and a model repository for Triton starts from
it: what is the same there and here is said once.
"""

from __future__ import annotations

from typing import Any

from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.datatypes import config_type
from nd_deploy.serve.settings import Settings

_MICROSECONDS = 10**6
_LABELS = "labels.txt"


def model_config(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """A model's ModelConfig, as protobuf's JSON with the names of the .proto file.

    Args:
        spec: of the model.
        settings: of the server.

    Returns:
        The fields that say something, and those that clients of Triton read whether they say
        something or not.
    """
    config = {
        "name": spec.name,
        "platform": spec.platform,
        "backend": spec.backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": spec.max_batch,
        "input": [_input(tensor, spec) for tensor in spec.inputs],
        "output": [_output(tensor, spec) for tensor in spec.outputs],
        "instance_group": [_instances(spec, settings)],
        "default_model_filename": "model.onnx",
        "parameters": _parameters(settings),
    }
    if spec.batching:
        config["dynamic_batching"] = _batching(settings)
    return config


def _input(tensor: TensorSpec, spec: ModelSpec) -> dict[str, Any]:
    return _described(tensor, spec) | {
        "format": "FORMAT_NONE",
        "is_shape_tensor": False,
        "allow_ragged_batch": False,
        "optional": False,
    }


def _output(tensor: TensorSpec, spec: ModelSpec) -> dict[str, Any]:
    return _described(tensor, spec) | {
        "label_filename": _LABELS if tensor.label_count else "",
        "is_shape_tensor": False,
    }


def _described(tensor: TensorSpec, spec: ModelSpec) -> dict[str, Any]:
    # Triton adds the batch's axis to dims where there is a largest batch.
    dims = list(tensor.shape[1:] if spec.max_batch else tensor.shape)
    described = {"name": tensor.name, "data_type": config_type(tensor.datatype)}
    if not dims:
        # It has no tensors without axes: one value is an axis of 1 that is reshaped away.
        return described | {"dims": [1], "reshape": {"shape": []}}
    return described | {"dims": dims}


def _instances(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    on_cpu = all(provider == "CPUExecutionProvider" for provider in spec.providers)
    return {
        "name": spec.name,
        "kind": "KIND_CPU" if on_cpu else "KIND_GPU",
        "count": settings.instances,
    }


def _parameters(settings: Settings) -> dict[str, Any]:
    """Parameters of Triton's onnxruntime backend."""
    if settings.threads is None:
        return {}
    return {"intra_op_thread_count": {"string_value": str(settings.threads)}}


def _batching(settings: Settings) -> dict[str, Any]:
    return {
        "max_queue_delay_microseconds": round(settings.batch_delay * _MICROSECONDS),
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": round(settings.deadline * _MICROSECONDS),
            "allow_timeout_override": True,
            "max_queue_size": settings.queue_limit,
        },
    }

"""Requests of the Open Inference Protocol as a client sends them."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from serve_bench.client import ID

BINARY, NUMBERED, JSON, GRPC = "REST binary", "REST binary, an id in each", "REST JSON", "gRPC"
FORMS = (BINARY, NUMBERED, JSON, GRPC)


def rest_request(
    model: str, name: str, x: NDArray[np.float32], *, binary: bool, ids: bool = False
) -> bytes:
    """A whole request of HTTP/1.1, over a connection that stays open.

    Args:
        model: to be asked.
        name: of its input.
        x: the input, (N, ...) float32.
        binary: whether tensors go as bytes, in both directions, or as JSON.
        ids: whether it is to have another id whenever it is sent.
    """
    tensor: dict[str, object] = {"name": name, "shape": list(x.shape), "datatype": "FP32"}
    headers = {"Content-Type": "application/json"}
    data = b""
    if binary:
        data = x.tobytes()
        tensor["parameters"] = {"binary_data_size": len(data)}
        document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    else:
        tensor["data"] = x.reshape(-1).tolist()
        document = {"inputs": [tensor]}
    if ids:
        document = {"id": ID.decode(), **document}
    head = json.dumps(document, separators=(",", ":")).encode()
    if binary:
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        }
    headers |= {"Host": "localhost", "Content-Length": str(len(head) + len(data))}
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\n{lines}\r\n".encode() + head + data


def grpc_request(model: str, name: str, x: NDArray[np.float32]) -> bytes:
    """A ModelInferRequest, with raw contents.

    Args:
        model: to be asked.
        name: of its input.
        x: the input, (N, ...) float32.
    """
    from nd_deploy.serve.rpc.messages import INFERENCE

    request = INFERENCE["ModelInferRequest"](model_name=model, raw_input_contents=[x.tobytes()])
    request.inputs.add(name=name, datatype="FP32", shape=x.shape)
    return bytes(request.SerializeToString())


def request_of(form: str, model: str, name: str, x: NDArray[np.float32]) -> bytes:
    """A request in one of FORMS, as `serve_bench.client` sends it."""
    if form == GRPC:
        return grpc_request(model, name, x)
    return rest_request(model, name, x, binary=form != JSON, ids=form == NUMBERED)

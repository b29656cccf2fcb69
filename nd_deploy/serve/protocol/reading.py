"""Requests: from a client's bytes or fields to inputs that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from nd_deploy.serve.exchange import InferRequest, ModelSpec
from nd_deploy.serve.protocol.compression import decompressed
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.facts import facts_of
from nd_deploy.serve.protocol.fields import InputFields, RequestFields
from nd_deploy.serve.protocol.heads import read_json, wishes
from nd_deploy.serve.protocol.limits import body_limit
from nd_deploy.serve.protocol.raw_request import only_data
from nd_deploy.serve.protocol.tensors import read_tensor
from nd_deploy.serve.settings import Settings

JSON_LENGTH = "inference-header-content-length"
# Longer ones say more bytes than there are.
_MOST_DIGITS = 18


def read_request(
    spec: ModelSpec,
    body: bytes | memoryview,
    headers: Mapping[str, str],
    settings: Settings,
    version: str | None = None,
) -> InferRequest:
    """Read an inference request of the REST protocol.

    The content type does not matter: clients send JSON and binary tensors under any.

    Args:
        spec: of the model.
        body: as it came.
        headers: by their names in lower case; content-encoding and
            inference-header-content-length are looked at.
        settings: the limits.
        version: of the model, that the client asked for.

    Returns:
        The request. Its inputs may be views of the body.

    Raises:
        Refusal: 400, it is malformed or does not fit the model; 413, it is too large; 415, its
            encoding is unknown.
    """
    encoding = headers.get("content-encoding")
    content = memoryview(decompressed(body, encoding, body_limit(spec, settings)))
    length = _json_length(headers.get(JSON_LENGTH), len(content))
    if length == 0 and content:
        return infer_request(spec, only_data(spec, content), settings, version)
    text, depth, most = bytes(content[:length]), settings.json_depth, settings.json_values
    asked = read_json(text, facts_of(spec), depth, most)
    inputs = _inputs(spec, asked.head.with_data(content[length:]), settings)
    return InferRequest(spec.name, version, asked.id, inputs, *asked.wishes, fits=spec)


def infer_request(
    spec: ModelSpec, fields: RequestFields, settings: Settings, version: str | None = None
) -> InferRequest:
    """Make a request of its fields, whatever carried them.

    Args:
        spec: of the model.
        fields: of the request.
        settings: the limits.
        version: of the model, that the client asked for.

    Raises:
        Refusal: 400, the request does not fit the model.
    """
    wanted = wishes(facts_of(spec), fields)
    inputs = _inputs(spec, fields.inputs, settings)
    return InferRequest(spec.name, version, fields.id, inputs, *wanted, fits=spec)


def _json_length(header: str | None, total: int) -> int:
    """Bytes of the body that are JSON: all, unless a header says less."""
    if header is None:
        return total
    is_number = header.isascii() and header.isdigit() and len(header) <= _MOST_DIGITS
    if not is_number or int(header) > total:
        raise bad_request(
            f"Inference-Header-Content-Length is {shown(header)}, which is no length within a "
            f"body of {total} bytes"
        )
    return int(header)


def _inputs(
    spec: ModelSpec, given: Sequence[InputFields], settings: Settings
) -> dict[str, NDArray[Any]]:
    by_name = {fields.name: fields for fields in given}
    inputs = {}
    for tensor in spec.inputs:
        fields = by_name[tensor.name]
        inputs[tensor.name] = read_tensor(tensor, fields, spec, settings.allow_nonfinite)
    if spec.max_batch and len(inputs) > 1:
        _check_batches(spec, inputs)
    return inputs


def _check_batches(spec: ModelSpec, inputs: Mapping[str, NDArray[Any]]) -> None:
    batches = {len(inputs[tensor.name]) for tensor in spec.inputs if _has_batch(tensor.shape)}
    if len(batches) > 1:
        raise bad_request(f"the inputs have batches of different sizes: {sorted(batches)}")


def _has_batch(shape: tuple[int, ...]) -> bool:
    return len(shape) > 0 and shape[0] < 0

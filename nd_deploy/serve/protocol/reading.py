"""Requests: from a client's bytes or fields to inputs that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from nd_deploy.serve.exchange import InferRequest, ModelSpec
from nd_deploy.serve.protocol import parameters
from nd_deploy.serve.protocol.compression import decompressed
from nd_deploy.serve.protocol.datatypes import BINARY_ONLY
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.fields import InputFields, RequestFields
from nd_deploy.serve.protocol.json_request import read_fields
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
    fields = read_fields(bytes(content[:length]), content[length:], spec, settings)
    request = infer_request(spec, fields, settings, version)
    _check_json_outputs(spec, request)
    return request


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
    parameters.check_known(fields.parameters)
    timeout = parameters.timeout(fields.parameters)
    outputs = parameters.outputs_wanted(spec, fields.outputs, fields.parameters)
    inputs = _inputs(spec, fields.inputs, settings)
    return InferRequest(spec.name, version, fields.id, inputs, outputs, timeout)


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
    spec: ModelSpec, given: tuple[InputFields, ...], settings: Settings
) -> dict[str, NDArray[Any]]:
    by_name = {fields.name: fields for fields in given}
    _check_names(spec, [fields.name for fields in given])
    inputs = {
        tensor.name: read_tensor(tensor, by_name[tensor.name], spec, settings.allow_nonfinite)
        for tensor in spec.inputs
    }
    batches = {len(inputs[tensor.name]) for tensor in spec.inputs if _has_batch(tensor.shape)}
    if spec.max_batch and len(batches) > 1:
        raise bad_request(f"the inputs have batches of different sizes: {sorted(batches)}")
    return inputs


def _has_batch(shape: tuple[int, ...]) -> bool:
    return len(shape) > 0 and shape[0] < 0


def _check_names(spec: ModelSpec, given: list[str]) -> None:
    wanted = [tensor.name for tensor in spec.inputs]
    if sorted(given) == sorted(wanted):
        return
    unknown = set(given) - set(wanted)
    if unknown:
        raise bad_request(
            f"there is no input {shown(min(unknown))}; the model takes "
            f"{', '.join(map(shown, wanted))}"
        )
    missing = set(wanted) - set(given)
    if missing:
        raise bad_request(f"input {shown(min(missing))} is missing")
    raise bad_request("an input is given twice")


def _check_json_outputs(spec: ModelSpec, request: InferRequest) -> None:
    """Refuse, before it runs, what could not be answered."""
    datatypes = {tensor.name: tensor.datatype for tensor in spec.outputs}
    for output in request.outputs:
        datatype = datatypes[output.name]
        if datatype in BINARY_ONLY and not output.binary and not output.classes:
            raise bad_request(
                f"output {shown(output.name)} is {datatype}, which is given as binary data only: "
                "set its parameter binary_data"
            )

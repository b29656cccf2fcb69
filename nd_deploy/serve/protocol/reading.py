"""Requests: from a client's bytes or fields to inputs that a model takes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nd_deploy.serve.exchange import InferRequest, ModelSpec, OutputWanted
from nd_deploy.serve.protocol import parameters
from nd_deploy.serve.protocol.compression import decompressed
from nd_deploy.serve.protocol.datatypes import BINARY_ONLY
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.facts import Facts, facts_of
from nd_deploy.serve.protocol.fields import InputFields, RequestFields
from nd_deploy.serve.protocol.json_request import Head, read_head
from nd_deploy.serve.protocol.limits import body_limit
from nd_deploy.serve.protocol.raw_request import only_data
from nd_deploy.serve.protocol.tensors import read_tensor
from nd_deploy.serve.settings import Settings

JSON_LENGTH = "inference-header-content-length"
# Longer ones say more bytes than there are.
_MOST_DIGITS = 18
# How many requests' JSON is remembered, and up to which bytes.
_HEADS_KEPT = 32
_LONG_HEAD = 1024


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
    read = _read_json if length > _LONG_HEAD else _read_short_json
    json = bytes(content[:length])
    head, wishes = read(json, facts_of(spec), settings.json_depth, settings.json_values)
    inputs = _inputs(spec, head.with_data(content[length:]), settings)
    return InferRequest(spec.name, version, head.fields.id, inputs, *wishes, fits=spec)


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
    wishes = _wishes(facts_of(spec), fields)
    inputs = _inputs(spec, fields.inputs, settings)
    return InferRequest(spec.name, version, fields.id, inputs, *wishes, fits=spec)


class _Wishes(NamedTuple):
    """What a client wants besides a run of the inputs; see `InferRequest`."""

    outputs: tuple[OutputWanted, ...]
    timeout: float | None


def _wishes(facts: Facts, fields: RequestFields) -> _Wishes:
    """Find out what a client wants, of a request that names the model's inputs."""
    parameters.check_known(fields.parameters)
    _check_names(facts.inputs, [given.name for given in fields.inputs])
    return _Wishes(
        parameters.outputs_wanted(facts, fields.outputs, fields.parameters),
        parameters.timeout(fields.parameters),
    )


def _read_json(head: bytes, facts: Facts, depth: int, most: int) -> tuple[Head, _Wishes]:
    read = read_head(head, facts, depth, most)
    wishes = _wishes(facts, read.fields)
    _check_json_outputs(facts, wishes.outputs)
    return read, wishes


# Clients that send tensors as bytes send the same JSON with each, unless they number them.
_read_short_json = functools.lru_cache(_HEADS_KEPT)(_read_json)


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


def _check_names(wanted: Sequence[str], given: Sequence[str]) -> None:
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


def _check_json_outputs(facts: Facts, outputs: tuple[OutputWanted, ...]) -> None:
    """Refuse, before it runs, what could not be answered."""
    for output in outputs:
        datatype = facts.datatypes[output.name]
        if datatype in BINARY_ONLY and not output.binary and not output.classes:
            raise bad_request(
                f"output {shown(output.name)} is {datatype}, which is given as binary data only: "
                "set its parameter binary_data"
            )

"""A request's body to its fields: JSON, and the tensors' bytes behind it."""

from __future__ import annotations

from typing import Any

import orjson

from nd_deploy.serve.exchange import ModelSpec
from nd_deploy.serve.protocol import fields
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.fields import InputFields, OutputFields, Parameters, RequestFields
from nd_deploy.serve.protocol.json_scan import Extent, measure
from nd_deploy.serve.protocol.limits import most_values
from nd_deploy.serve.refusal import TOO_LARGE, Refusal
from nd_deploy.serve.settings import Settings

# Triton's own examples and KServe's client name the model here too; the address decides.
_REQUEST = frozenset({"id", "inputs", "outputs", "parameters", "model_name", "model_version"})
_INPUT = frozenset({"name", "shape", "datatype", "data", "parameters"})
_OUTPUT = frozenset({"name", "parameters"})
_BINARY_SIZE = "binary_data_size"


def read_fields(
    head: bytes, tail: memoryview, spec: ModelSpec, settings: Settings
) -> RequestFields:
    """Read the protocol's inference request JSON object.

    Args:
        head: the JSON.
        tail: the tensors' bytes, in the order of the inputs (Triton's binary tensor data
            extension).
        spec: of the model; only how much a request of it may hold matters here.
        settings: the limits.

    Returns:
        The fields; data is a view of the tail.

    Raises:
        Refusal: 400, it is no request, or holds more than any to the model; 413, it has more
            values than the server reads.
    """
    extent = measure(head)
    _check_extent(extent, spec, settings)
    request = fields.members(_load(head), "the request", _REQUEST)
    inputs = _objects(request.get("inputs"), "the request's inputs", _INPUT)
    outputs = _objects(request.get("outputs"), "the request's outputs", _OUTPUT)
    data = _Tail(tail)
    read = RequestFields(
        id=fields.request_id(request.get("id")),
        inputs=tuple(_input(item, data) for item in inputs),
        outputs=tuple(_output(item) for item in outputs),
        parameters=fields.parameters(request.get("parameters"), "the request's parameters"),
    )
    data.check_end()
    _check_doubles([request, *inputs, *outputs], extent.members)
    return read


def _check_extent(extent: Extent, spec: ModelSpec, settings: Settings) -> None:
    if extent.deeper_than(settings.json_depth):
        raise bad_request(f"the request's JSON is nested deeper than {settings.json_depth}")
    most = most_values(spec)
    if most is not None and extent.values > most:
        batch = f", whose largest batch is {spec.max_batch}" if spec.max_batch else ""
        raise bad_request(
            f"the request's JSON holds about {extent.values} values, which is more than any to "
            f"this model{batch}"
        )
    if extent.values > settings.json_values:
        raise Refusal(
            TOO_LARGE,
            "too many values",
            f"the request's JSON holds about {extent.values} values, and at most "
            f"{settings.json_values} are read; send the tensors as binary data",
        )


def _load(head: bytes) -> object:
    if not head:
        raise bad_request("the request has no body")
    try:
        return orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request is no valid JSON: {error}") from error


def _objects(value: object, where: str, known: frozenset[str]) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad_request(f"{where} are {shown(value)}, which is no list")
    return [fields.members(item, f"one of {where}", known) for item in value]


def _check_doubles(objects: list[dict[str, Any]], found: int) -> None:
    """Refuse doubled members, of which a parser keeps one that the client may not mean."""
    nested = [item.get("parameters") for item in objects]
    kept = sum(len(item) for item in (*objects, *nested) if isinstance(item, dict))
    if kept != found:
        raise bad_request("a member of the request's JSON is given twice, or where none belongs")


class _Tail:
    """What is left of the bytes behind the JSON."""

    def __init__(self, tail: memoryview) -> None:
        self._left = tail

    def take(self, name: str, size: object) -> memoryview:
        if type(size) is not int or size < 0:
            raise bad_request(f"{_BINARY_SIZE} of input {shown(name)} is {shown(size)}")
        if size > len(self._left):
            raise bad_request(
                f"input {shown(name)} is to have {size} bytes, and {len(self._left)} are left "
                "behind the JSON, whose length Inference-Header-Content-Length has to say"
            )
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def check_end(self) -> None:
        if self._left:
            raise bad_request(f"{len(self._left)} bytes are left behind the inputs' data")


def _input(item: dict[str, Any], tail: _Tail) -> InputFields:
    name = fields.text(item.get("name"), "an input's name")
    of_input = f"of input {shown(name)}"
    parameters = fields.parameters(item.get("parameters"), f"the parameters {of_input}")
    _check_carrier(name, parameters, "data" in item)
    values = item.get("data")
    if "data" in item and not isinstance(values, list):
        raise bad_request(f"the data {of_input} is {shown(values)}, which is no list")
    return InputFields(
        name=name,
        datatype=fields.text(item.get("datatype"), f"the datatype {of_input}"),
        shape=fields.shape(item.get("shape"), f"the shape {of_input}"),
        values=values,
        data=None if "data" in item else tail.take(name, parameters[_BINARY_SIZE]),
    )


def _check_carrier(name: str, parameters: Parameters, has_values: bool) -> None:
    """Refuse anything but data in JSON or data behind it, one of the two."""
    unknown = parameters.keys() - {_BINARY_SIZE}
    if any(key.startswith("shared_memory") for key in unknown):
        raise bad_request(f"input {shown(name)} is in shared memory, which is not served")
    if unknown:
        raise bad_request(f"input {shown(name)} has an unknown parameter {shown(min(unknown))}")
    if has_values == (_BINARY_SIZE in parameters):
        raise bad_request(f"input {shown(name)} needs one of data and {_BINARY_SIZE}")


def _output(item: dict[str, Any]) -> OutputFields:
    name = fields.text(item.get("name"), "an output's name")
    return OutputFields(
        name,
        fields.parameters(item.get("parameters"), f"the parameters of output {shown(name)}"),
    )

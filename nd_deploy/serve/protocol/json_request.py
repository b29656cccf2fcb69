"""A request's body to its fields: JSON, and the tensors' bytes behind it."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from nd_deploy.serve.protocol import fields
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.facts import Facts
from nd_deploy.serve.protocol.fields import InputFields, OutputFields, Parameters, RequestFields
from nd_deploy.serve.protocol.json_scan import Extent, is_within, measure
from nd_deploy.serve.refusal import TOO_LARGE, Refusal

# Triton's own examples and KServe's client name the model here too; the address decides.
_REQUEST = frozenset({"id", "inputs", "outputs", "parameters", "model_name", "model_version"})
_INPUT = frozenset({"name", "shape", "datatype", "data", "parameters"})
_OUTPUT = frozenset({"name", "parameters"})
# Bytes.
_SHORT = 2048
_BINARY_SIZE = "binary_data_size"
_OF_INPUTS = frozenset({_BINARY_SIZE})


class Head(NamedTuple):
    """What the JSON of a request says.

    Attributes:
        fields: of the request; without the data that follows the JSON.
        sizes: bytes of each input's data there; None where the values are in the JSON.
    """

    fields: RequestFields
    sizes: tuple[int | None, ...]

    def with_data(self, tail: memoryview) -> list[InputFields]:
        """The inputs with their data.

        Args:
            tail: the tensors' bytes, in the order of the inputs (Triton's binary tensor data
                extension).

        Returns:
            The inputs; data is a view of the tail.

        Raises:
            Refusal: 400, the bytes are more or fewer than the JSON says.
        """
        inputs = []
        start = 0
        for given, size in zip(self.fields.inputs, self.sizes, strict=True):
            if size is None:
                inputs.append(given)
                continue
            if size > len(tail) - start:
                raise bad_request(
                    f"input {shown(given.name)} is to have {size} bytes, and {len(tail) - start} "
                    "are left behind the JSON, whose length Inference-Header-Content-Length has to "
                    "say"
                )
            data = tail[start : start + size]
            inputs.append(InputFields(given.name, given.datatype, given.shape, None, data))
            start += size
        if start < len(tail):
            raise bad_request(f"{len(tail) - start} bytes are left behind the inputs' data")
        return inputs


def read_head(head: bytes, facts: Facts, depth: int, most: int) -> Head:
    """Read the protocol's inference request JSON object.

    Args:
        head: the JSON.
        facts: of the model; only how much a request to it may hold matters here.
        depth: how many lists and objects may lie in one another.
        most: values that are read.

    Raises:
        Refusal: 400, it is no request, or holds more than any to the model; 413, it has more
            values than the server reads.
    """
    # What is short holds no more than the largest request, whose names alone are allowed more.
    if not is_within(head, depth, min(most, _SHORT)):
        _check_extent(measure(head), facts, depth, most)
    request = fields.members(_load(head), "the request", _REQUEST)
    inputs = _objects(request.get("inputs"), "the request's inputs", _INPUT)
    outputs = _objects(request.get("outputs"), "the request's outputs", _OUTPUT)
    read = RequestFields(
        id=fields.request_id(request.get("id")),
        inputs=tuple(map(_input, inputs)),
        outputs=tuple(map(_output, outputs)),
        parameters=fields.parameters(request.get("parameters"), "the request's parameters"),
    )
    _check_doubles((request, *inputs, *outputs), head)
    return Head(read, tuple(map(_size, inputs)))


def _check_extent(extent: Extent, facts: Facts, depth: int, most: int) -> None:
    if extent.deeper_than(depth):
        raise bad_request(f"the request's JSON is nested deeper than {depth}")
    if facts.most_values is not None and extent.values > facts.most_values:
        batch = f", whose largest batch is {facts.max_batch}" if facts.max_batch else ""
        raise bad_request(
            f"the request's JSON holds about {extent.values} values, which is more than any to "
            f"this model{batch}"
        )
    if extent.values > most:
        raise Refusal(
            TOO_LARGE,
            "too many values",
            f"the request's JSON holds about {extent.values} values, and at most "
            f"{most} are read; send the tensors as binary data",
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


def _check_doubles(objects: tuple[dict[str, Any], ...], head: bytes) -> None:
    """Refuse doubled members, of which a parser keeps one that the client may not mean."""
    kept = 0
    for item in objects:
        kept += len(item) + len(item.get("parameters") or ())
    # There may be colons in strings, too.
    if kept != head.count(b":") and kept != measure(head).members:
        raise bad_request("a member of the request's JSON is given twice, or where none belongs")


def _input(item: dict[str, Any]) -> InputFields:
    name = fields.text(item.get("name"), "an input's name")
    parameters = fields.parameters(item.get("parameters"), "the parameters of input", name)
    _check_carrier(name, parameters, "data" in item)
    values = item.get("data")
    if "data" in item and not isinstance(values, list):
        raise bad_request(f"the data of input {shown(name)} is {shown(values)}, which is no list")
    return InputFields(
        name,
        fields.text(item.get("datatype"), "the datatype of input", name),
        fields.shape(item.get("shape"), name),
        values,
    )


def _size(item: dict[str, Any]) -> int | None:
    if "data" in item:
        return None
    size = item["parameters"][_BINARY_SIZE]
    if type(size) is not int or size < 0:
        raise bad_request(f"{_BINARY_SIZE} of input {shown(item['name'])} is {shown(size)}")
    return size


def _check_carrier(name: str, parameters: Parameters, has_values: bool) -> None:
    """Refuse anything but data in JSON or data behind it, one of the two."""
    if not parameters.keys() <= _OF_INPUTS:
        unknown = parameters.keys() - _OF_INPUTS
        if any(key.startswith("shared_memory") for key in unknown):
            raise bad_request(f"input {shown(name)} is in shared memory, which is not served")
        raise bad_request(f"input {shown(name)} has an unknown parameter {shown(min(unknown))}")
    if has_values == (_BINARY_SIZE in parameters):
        raise bad_request(f"input {shown(name)} needs one of data and {_BINARY_SIZE}")


def _output(item: dict[str, Any]) -> OutputFields:
    name = fields.text(item.get("name"), "an output's name")
    return OutputFields(
        name, fields.parameters(item.get("parameters"), "the parameters of output", name)
    )

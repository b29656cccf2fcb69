"""ModelInferRequest, as far as it can be read without looking at a model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat

from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy.serve.protocol import fields
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.fields import InputFields, OutputFields, Parameters, RequestFields
from nd_deploy.serve.rpc.contents import raw_contents

# A parameter of REST, which KServe's client sends over gRPC too.
_SIZE = "binary_data_size"


def request_fields(request: Message) -> RequestFields:
    """Read a ModelInferRequest.

    Its tensors are in raw_input_contents, one for each input, or all of them in typed contents.

    Raises:
        Refusal: 400, it is malformed.
    """
    given = request.raw_input_contents
    if given and len(given) != len(request.inputs):
        raise bad_request(
            f"the request has {len(request.inputs)} inputs and {len(given)} raw_input_contents"
        )
    return RequestFields(
        id=fields.request_id(request.id),
        inputs=tuple(
            _input(tensor, data)
            for tensor, data in zip(request.inputs, given or repeat(None), strict=False)
        ),
        outputs=tuple(_output(tensor) for tensor in request.outputs),
        parameters=_parameters(request.parameters, "the request"),
    )


def _input(tensor: Message, data: bytes | None) -> InputFields:
    name = fields.text(tensor.name, "an input's name")
    _check_carrier(tensor, name, data)
    datatype = fields.text(tensor.datatype, "the datatype of input", name)
    if tensor.HasField("contents"):
        data = raw_contents(name, datatype, tensor.contents)
    return InputFields(name, datatype, fields.shape(list(tensor.shape), name), data=data)


def _check_carrier(tensor: Message, name: str, data: bytes | None) -> None:
    parameters = _parameters(tensor.parameters, "input", name)
    if any(key.startswith("shared_memory") for key in parameters):
        raise bad_request(f"input {shown(name)} is in shared memory, which is not served")
    unknown = parameters.keys() - {_SIZE}
    if unknown:
        raise bad_request(f"input {shown(name)} has an unknown parameter {shown(min(unknown))}")
    if data is not None and parameters.get(_SIZE, len(data)) != len(data):
        raise bad_request(
            f"input {shown(name)} has {len(data)} bytes, and {_SIZE} is {shown(parameters[_SIZE])}"
        )
    if data is not None and tensor.HasField("contents"):
        raise bad_request(
            f"input {shown(name)} has typed contents, and raw_input_contents are there as well"
        )


def _output(tensor: Message) -> OutputFields:
    name = fields.text(tensor.name, "an output's name")
    return OutputFields(name, _parameters(tensor.parameters, "output", name))


def _parameters(given: Mapping[str, Message], what: str, of: str | None = None) -> Parameters:
    return {name: _value(given[name], name, what, of) for name in given}


def _value(parameter: Message, name: str, what: str, of: str | None) -> bool | int | float | str:
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        raise bad_request(f"parameter {shown(name)} of {fields.where(what, of)} has no value")
    value: bool | int | float | str = getattr(parameter, choice)
    return value

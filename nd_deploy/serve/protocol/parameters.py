"""The parameters of requests and of the outputs they name, whatever carried them.

Their names and meanings are those of Triton's extensions: schedule policy, sequence, binary tensor
data and classification.
"""

from __future__ import annotations

from collections.abc import Mapping

from nd_deploy.serve.exchange import OutputWanted
from nd_deploy.serve.protocol.datatypes import BYTES
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.facts import Facts
from nd_deploy.serve.protocol.fields import OutputFields, Parameters

_KNOWN = frozenset({"timeout", "priority", "binary_data_output"})
# perf_analyzer sends it over gRPC (Triton's parameters extension). An answer that comes in one
# piece is the final one.
_FINAL = "triton_enable_empty_final_response"
_SEQUENCE = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_CHECKED_WHERE_USED = frozenset({"timeout", "binary_data_output"})
_TAKEN = _KNOWN | _SEQUENCE | {_FINAL}
_OF_OUTPUTS = frozenset({"binary_data", "classification"})
_NO_CLASSES = frozenset({"BOOL", BYTES})
_MICROSECOND = 1e-6


def check_known(parameters: Parameters) -> None:
    """Refuse what a request asks for and would not get.

    A priority is taken and has no effect, as in Triton for a model without priority levels. So are
    a sequence of id 0, which is none, and the wish for an empty answer after the last of a stream.

    Raises:
        Refusal: 400, a parameter is unknown, or the request belongs to a sequence.
    """
    if parameters.keys() <= _CHECKED_WHERE_USED:
        return
    if not parameters.keys() <= _TAKEN:
        unknown = min(parameters.keys() - _TAKEN)
        raise bad_request(
            f"the request has an unknown parameter {shown(unknown)}; known are "
            f"{', '.join(sorted(_KNOWN))}"
        )
    if any(parameters[name] for name in _SEQUENCE & parameters.keys()):
        raise bad_request("sequences of requests are not served: models keep no state")
    _whole(parameters, "priority")
    _flag(parameters, _FINAL, default=False)


def timeout(parameters: Parameters) -> float | None:
    """Seconds that a client waits, which it gives in microseconds; None for no limit, or 0.

    Raises:
        Refusal: 400, it is no whole number.
    """
    microseconds = _whole(parameters, "timeout")
    return microseconds * _MICROSECOND if microseconds else None


def outputs_wanted(
    facts: Facts, named: tuple[OutputFields, ...], parameters: Parameters
) -> tuple[OutputWanted, ...]:
    """What a client wants of each output.

    Args:
        facts: of the model.
        named: the outputs that the request names; none stands for all.
        parameters: of the request.

    Returns:
        The outputs, in the client's order or the model's.

    Raises:
        Refusal: 400, an output does not exist, is named twice, or has no form of the kind asked
            for.
    """
    binary = _flag(parameters, "binary_data_output", default=False)
    if not named:
        return facts.binary_outputs if binary else facts.json_outputs
    names = [output.name for output in named]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise bad_request(f"output {shown(min(doubled))} is named twice")
    return tuple([_output_wanted(facts.datatypes, output, binary) for output in named])


def _output_wanted(
    datatypes: Mapping[str, str], output: OutputFields, binary: bool
) -> OutputWanted:
    datatype = datatypes.get(output.name)
    if datatype is None:
        raise bad_request(
            f"there is no output {shown(output.name)}; the model has "
            f"{', '.join(map(shown, datatypes))}"
        )
    _check_output_parameters(output)
    wanted = OutputWanted(
        name=output.name,
        binary=_flag(output.parameters, "binary_data", default=binary),
        classes=_whole(output.parameters, "classification"),
    )
    if wanted.classes and datatype in _NO_CLASSES:
        raise bad_request(f"output {shown(output.name)} is {datatype}, which has no largest values")
    return wanted


def _check_output_parameters(output: OutputFields) -> None:
    if output.parameters.keys() <= _OF_OUTPUTS:
        return
    unknown = output.parameters.keys() - _OF_OUTPUTS
    if any(name.startswith("shared_memory") for name in unknown):
        raise bad_request(
            f"output {shown(output.name)} is to go to shared memory, which is not served"
        )
    raise bad_request(
        f"output {shown(output.name)} has an unknown parameter {shown(min(unknown))}; known are "
        f"{', '.join(sorted(_OF_OUTPUTS))}"
    )


def _flag(parameters: Parameters, name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"parameter {name} is {shown(value)}, which is neither true nor false")
    return value


def _whole(parameters: Parameters, name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise bad_request(f"parameter {name} is {shown(value)}, which is no whole number from 0 on")
    return value

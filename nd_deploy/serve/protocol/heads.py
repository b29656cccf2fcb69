"""What the JSON of a request asks of a model, found out once for all requests of the same JSON.

Clients that send tensors as bytes send the same JSON with each, but for an id.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from nd_deploy.serve.exchange import OutputWanted
from nd_deploy.serve.protocol import parameters
from nd_deploy.serve.protocol.datatypes import BINARY_ONLY
from nd_deploy.serve.protocol.errors import bad_request, shown
from nd_deploy.serve.protocol.facts import Facts
from nd_deploy.serve.protocol.fields import RequestFields
from nd_deploy.serve.protocol.json_request import Head, read_head
from nd_deploy.serve.refusal import Refusal

# How many requests' JSON is remembered, and up to which bytes.
_KEPT = 32
_LONG = 1024
# An id that comes first, as tritonclient has it, and is the same in JSON as out of it.
_ID = re.compile(rb'\{"id": ?"([\w.:/+=@-]{1,128})", ?(?=")', re.ASCII)


class Wishes(NamedTuple):
    """What a client wants besides a run of the inputs; see `InferRequest`."""

    outputs: tuple[OutputWanted, ...]
    timeout: float | None


class Asked(NamedTuple):
    """What JSON asks.

    Attributes:
        id: of the request; None if there is none.
        head: what the JSON says.
        wishes: of the client.
    """

    id: str | None
    head: Head
    wishes: Wishes


def read_json(text: bytes, facts: Facts, depth: int, most: int) -> Asked:
    """Read a request's JSON.

    Args:
        text: the JSON.
        facts: of the model.
        depth: how many lists and objects may lie in one another.
        most: values that are read.

    Raises:
        Refusal: as of `read_head`; 400, it does not fit the model, or asks for what JSON has no
            form of.
    """
    if len(text) > _LONG:
        return _read(text, facts, depth, most)
    numbered = _ID.match(text)
    if numbered is not None:
        try:
            asked = _remembered(b"{" + text[numbered.end() :], facts, depth, most)
        except Refusal:
            # The message may name a place in the JSON, or hold another fault than the first.
            return _read(text, facts, depth, most)
        if asked.id is None:
            return Asked(numbered[1].decode(), asked.head, asked.wishes)
    return _remembered(text, facts, depth, most)


def wishes(facts: Facts, fields: RequestFields) -> Wishes:
    """What a client wants, of a request that names the model's inputs.

    Raises:
        Refusal: 400, it names others, or what it wants is not to be had.
    """
    parameters.check_known(fields.parameters)
    _check_names(facts.inputs, [given.name for given in fields.inputs])
    return Wishes(
        parameters.outputs_wanted(facts, fields.outputs, fields.parameters),
        parameters.timeout(fields.parameters),
    )


def _read(text: bytes, facts: Facts, depth: int, most: int) -> Asked:
    head = read_head(text, facts, depth, most)
    wanted = wishes(facts, head.fields)
    _check_json_outputs(facts, wanted.outputs)
    return Asked(head.fields.id, head, wanted)


_remembered = functools.lru_cache(_KEPT)(_read)


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

"""What a client gets for the outputs it wanted, before REST or gRPC carries it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec, OutputWanted
from nd_deploy.serve.protocol.classification import class_strings, packed
from nd_deploy.serve.protocol.datatypes import BYTES, datatype_of

# Bytes up to which copying costs less than making a view.
_SMALL = 2**14


class Answer(NamedTuple):
    """An output.

    Attributes:
        name: of the output.
        datatype: of the protocol; BYTES for classes.
        values: those of the model; objects of bytes for classes.
        binary: whether REST is to give it as binary data.
    """

    name: str
    datatype: str
    values: NDArray[Any]
    binary: bool

    def data(self) -> bytes | memoryview:
        """The values in rows as binary data; if they are many, a view of them where they lie so."""
        if self.datatype == BYTES:
            return packed(self.values)
        if self.values.nbytes <= _SMALL:
            return self.values.tobytes()
        return self.values.reshape(-1).view(np.uint8).data


def answers(response: InferResponse, request: InferRequest) -> list[Answer]:
    """The outputs that a request wants, in its order; all if it names none.

    Raises:
        Refusal: 400, it wants too many classes.
    """
    wanted = request.outputs or tuple(OutputWanted(name) for name in response.outputs)
    return [_answer(response.spec, output, response.outputs[output.name]) for output in wanted]


def _answer(spec: ModelSpec, wanted: OutputWanted, values: NDArray[Any]) -> Answer:
    if wanted.classes:
        values = class_strings(values, wanted.classes, _labels(spec, wanted.name))
    return Answer(wanted.name, datatype_of(values.dtype), values, wanted.binary)


def _labels(spec: ModelSpec, output: str) -> tuple[str, ...]:
    labelled = any(tensor.name == output and tensor.label_count for tensor in spec.outputs)
    return spec.labels if labelled else ()

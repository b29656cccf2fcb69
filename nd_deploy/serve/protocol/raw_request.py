"""Requests that are an input's bytes and nothing else (Triton: "Raw Binary Request").

Inference-Header-Content-Length is 0 in them: `curl --data-binary @image.bin` needs no JSON.
"""

from __future__ import annotations

import math

from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.datatypes import item_size
from nd_deploy.serve.protocol.errors import bad_request
from nd_deploy.serve.protocol.fields import InputFields, RequestFields


def only_data(spec: ModelSpec, data: memoryview) -> RequestFields:
    """The fields that such a request stands for: a batch of one, all outputs as binary data.

    Raises:
        Refusal: 400, the model has several inputs, or the bytes leave its shape open.
    """
    if len(spec.inputs) != 1:
        raise bad_request(
            f"the model has {len(spec.inputs)} inputs, which bytes without JSON do not tell apart"
        )
    tensor = spec.inputs[0]
    shape = _shape(tensor, len(data))
    return RequestFields(
        id=None,
        inputs=(InputFields(tensor.name, tensor.datatype, shape, data=data),),
        parameters={"binary_data_output": True},
    )


def _shape(tensor: TensorSpec, size: int) -> tuple[int, ...]:
    shape = (1, *tensor.shape[1:]) if tensor.shape[:1] == (-1,) else tensor.shape
    if shape.count(-1) > 1:
        raise bad_request(
            f"the model takes shape {list(tensor.shape)}, which bytes without JSON leave open"
        )
    fixed = item_size(tensor.datatype) * math.prod(side for side in shape if side >= 0)
    return tuple(size // fixed if side < 0 else side for side in shape)

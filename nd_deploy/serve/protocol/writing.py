"""Responses of REST: JSON, and the outputs' bytes behind it."""

from __future__ import annotations

import numpy as np
import orjson

from nd_deploy.serve.exchange import InferRequest, InferResponse
from nd_deploy.serve.protocol.answers import Answer, answers
from nd_deploy.serve.protocol.datatypes import BINARY_ONLY, BYTES, FLOATS
from nd_deploy.serve.protocol.errors import shown
from nd_deploy.serve.refusal import UNPROCESSABLE, Refusal


def write_response(
    response: InferResponse, request: InferRequest
) -> tuple[dict[str, str], list[bytes | memoryview]]:
    """Write the protocol's inference response JSON object, and binary data behind it.

    Args:
        response: what the model gave.
        request: what was wanted.

    Returns:
        The headers, by their names in lower case, without those of the body's length and encoding;
        and the parts of the body in order, which may be views of the outputs.

    Raises:
        Refusal: 400, it wants too many classes; 422, an output has no form in JSON.
    """
    document: dict[str, object] = {} if response.id is None else {"id": response.id}
    document["model_name"] = response.spec.name
    document["model_version"] = response.spec.version
    outputs: list[dict[str, object]] = []
    parts: list[bytes | memoryview] = []
    for answer in answers(response, request):
        described: dict[str, object] = {
            "name": answer.name,
            "datatype": answer.datatype,
            "shape": answer.values.shape,
        }
        if answer.binary:
            data = answer.data()
            parts.append(data)
            described["parameters"] = {"binary_data_size": len(data)}
        else:
            described["data"] = _numbers(answer)
        outputs.append(described)
    document["outputs"] = outputs
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts:
        return {"content-type": "application/json"}, [head]
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    return headers, [head, *parts]


def _numbers(answer: Answer) -> object:
    """The values in rows, as Triton gives them."""
    if answer.datatype == BYTES:
        return [item.decode() for item in answer.values.flat]
    if answer.datatype in BINARY_ONLY:
        raise _no_form(answer, f"is {answer.datatype}")
    if answer.datatype in FLOATS and not np.isfinite(answer.values).all():
        raise _no_form(answer, "holds NaN or infinity")
    return answer.values.reshape(-1)


def _no_form(answer: Answer, fault: str) -> Refusal:
    return Refusal(
        UNPROCESSABLE,
        "no form in JSON",
        f"output {shown(answer.name)} {fault}, which JSON has no form for: ask for it with the "
        "parameter binary_data",
    )

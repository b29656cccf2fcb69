"""ModelInferResponse."""

from __future__ import annotations

from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy.serve.exchange import InferRequest, InferResponse
from nd_deploy.serve.protocol.answers import answers
from nd_deploy.serve.rpc.messages import INFERENCE


def response_message(response: InferResponse, request: InferRequest) -> Message:
    """What a model gave, as a ModelInferResponse with raw_output_contents.

    Triton answers so whatever form the request had, and its clients read nothing else.

    Args:
        response: to be told.
        request: that it answers.

    Raises:
        Refusal: 400, too many classes are wanted.
    """
    message = INFERENCE["ModelInferResponse"](
        model_name=response.spec.name,
        model_version=response.spec.version,
        id=response.id or "",
    )
    for answer in answers(response, request):
        message.outputs.add(name=answer.name, datatype=answer.datatype, shape=answer.values.shape)
        message.raw_output_contents.append(bytes(answer.data()))
    return message

"""ModelInfer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy.serve.exchange import InferRequest, ModelSpec, Service
from nd_deploy.serve.protocol.limits import LONG
from nd_deploy.serve.protocol.reading import infer_request
from nd_deploy.serve.rpc.requests import request_fields
from nd_deploy.serve.rpc.responses import response_message
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from nd_deploy.serve.rpc.entry import Context


class Inference:
    """Runs models for clients.

    Args:
        service: that runs them.
        settings: of the server.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    async def infer(self, request: Message, context: Context) -> Message:
        """Answer ModelInfer. A call that its client cancels cancels the request.

        Raises:
            Refusal: as of `Service.infer`; 400, the request does not fit the model.
        """
        version = request.model_version or None
        spec = self._service.spec(request.model_name, version)
        read = await self._read(spec, request, version)
        read = read._replace(timeout=_shorter(read.timeout, context.time_remaining()))
        return response_message(await self._service.infer(read), read)

    async def _read(self, spec: ModelSpec, request: Message, version: str | None) -> InferRequest:
        def read() -> InferRequest:
            return infer_request(spec, request_fields(request), self._settings, version)

        return read() if request.ByteSize() < LONG else await asyncio.to_thread(read)


def _shorter(timeout: float | None, remaining: float | None) -> float | None:
    """The shorter of two times, of which None is no limit."""
    return min((limit for limit in (timeout, remaining) if limit is not None), default=None)

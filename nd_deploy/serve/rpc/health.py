"""gRPC's health checking protocol, grpc.health.v1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy.serve.exchange import Service
from nd_deploy.serve.refusal import NOT_FOUND, Refusal
from nd_deploy.serve.rpc.messages import HEALTH, INFERENCE_SERVICE

if TYPE_CHECKING:
    from nd_deploy.serve.rpc.entry import Context

# "" is the server as a whole.
_SERVICES = frozenset({"", INFERENCE_SERVICE})
# Whether models are ready is asked of the service, which does not say by itself when that changes.
_INTERVAL_S = 0.5


class Health:
    """What load balancers and Kubernetes' probes ask, and are told, without a token.

    Args:
        service: that is ready or not.
        ending: set once the server takes no more calls.
    """

    def __init__(self, service: Service, ending: asyncio.Event) -> None:
        self._service = service
        self._ending = ending

    async def check(self, request: Message, context: Context) -> Message:
        """Answer Check: how the service is now.

        Raises:
            Refusal: 404, there is no such service.
        """
        if request.service not in _SERVICES:
            raise Refusal(NOT_FOUND, "unknown service", "there is no service of that name")
        return HEALTH["HealthCheckResponse"](status=self._status(request.service))

    async def watch(self, request: Message, context: Context) -> None:
        """Answer Watch: how the service is, whenever that changes, up to the server's end."""
        told = None
        last = False
        while not last:
            # While a client is slow to take one status, the server may come to its end.
            last = self._ending.is_set()
            status = self._status(request.service)
            if status != told:
                await context.write(HEALTH["HealthCheckResponse"](status=status))
                told = status
            await self._pause()

    def _status(self, name: str) -> str:
        if name not in _SERVICES:
            return "SERVICE_UNKNOWN"
        if self._ending.is_set() or not self._service.ready:
            return "NOT_SERVING"
        return "SERVING"

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), _INTERVAL_S)
        except asyncio.TimeoutError:
            return

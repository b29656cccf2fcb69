"""The gRPC server, from its port to its end."""

from __future__ import annotations

import asyncio
import socket

import grpc  # type: ignore[import-untyped]

from nd_deploy.errors import InputError
from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.observation import Observe, unobserved
from nd_deploy.serve.rpc.limits import channel_options
from nd_deploy.serve.rpc.methods import service_handlers
from nd_deploy.serve.settings import Settings

# Calls that meet gRPC's own end are cancelled, which tells a client nothing. So for this long they
# are refused as "unavailable" before, at which clients ask elsewhere.
_NOTICE_S = 0.25


class GrpcServer:
    """A server that takes calls.

    Args:
        server: started.
        port: that it listens on.
        ending: to be set once it is to take no more calls.
    """

    def __init__(self, server: grpc.aio.Server, port: int, ending: asyncio.Event) -> None:
        self._server = server
        self._port = port
        self._ending = ending

    @property
    def port(self) -> int:
        """That it listens on."""
        return self._port

    async def stop(self, grace: float) -> None:
        """Take no more calls, wait for those under way, and close the port.

        Args:
            grace: seconds after which calls that are still under way are cancelled.
        """
        self._ending.set()
        notice = min(_NOTICE_S, grace)
        await _give(notice)
        await self._server.stop(grace - notice)


async def _give(notice: float) -> None:
    await asyncio.sleep(notice)


async def start(service: Service, settings: Settings, observe: Observe = unobserved) -> GrpcServer:
    """Serve the Open Inference Protocol and gRPC's health checks.

    Args:
        service: that answers. Its largest model at this time says how large a request may be.
        settings: of which `host` alone is bound, at `grpc_port`.
        observe: told of every call, in the terms of REST.

    Raises:
        InputError: the port cannot be had.
    """
    ending = asyncio.Event()
    server = grpc.aio.server(
        handlers=service_handlers(service, settings, ending, observe),
        options=channel_options(service, settings),
        maximum_concurrent_rpcs=settings.connection_limit,
    )
    port = _bind(server, settings.host, settings.grpc_port or 0)
    await server.start()
    return GrpcServer(server, port, ending)


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    _check_address(host, port)
    try:
        return int(
            server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        )
    except RuntimeError as error:
        raise _not_listening(host, port, "it was taken a moment ago") from error


def _check_address(host: str, port: int) -> None:
    """Bind an address for a moment: gRPC keeps to itself why it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _not_listening(host, port, (error.strerror or str(error)).lower()) from error


def _not_listening(host: str, port: int, why: str) -> InputError:
    return InputError(
        f"port {port} of {host} cannot be listened on: {why} (--grpc-port)",
        "end what listens there, or name another port; 0 is any that is free",
    )

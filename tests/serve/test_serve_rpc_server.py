"""The server's port, and its health checks."""

import asyncio
import socket

import grpc
import pytest
from rpc_stand_ins import PATIENCE, EchoService, connected, served

from nd_deploy.errors import InputError
from nd_deploy.serve.rpc import health
from nd_deploy.serve.rpc.server import start
from nd_deploy.serve.settings import Settings

health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def patiently(scenario):
    return asyncio.run(asyncio.wait_for(scenario, PATIENCE))


def asked(channel, name=""):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))


def watched(channel, name=""):
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))


def test_a_port_in_use_is_named_with_its_flag():
    async def scenario(port):
        with pytest.raises(InputError) as caught:
            await start(EchoService(), Settings(grpc_port=port))
        return caught.value

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = patiently(scenario(port))

    assert error.problem == (
        f"port {port} of 127.0.0.1 cannot be listened on: address already in use (--grpc-port)"
    )
    assert "another port" in error.remedy


def test_an_address_that_is_not_this_machines_is_refused():
    async def scenario():
        with pytest.raises(InputError, match="cannot be listened on"):
            await start(EchoService(), Settings(host="192.0.2.1", grpc_port=0))

    patiently(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_the_host_alone_is_bound(host):
    async def scenario():
        async with served(EchoService(), host=host) as server:
            with socket.socket() as other:
                other.bind(("127.0.0.3", server.port))
            async with grpc.aio.insecure_channel(f"{host}:{server.port}") as channel:
                return (await asked(channel)).status

    assert patiently(scenario()) == SERVING


def test_a_port_is_free_again_after_the_end():
    async def scenario():
        async with served(EchoService()) as server:
            port = server.port
        again = await start(EchoService(), Settings(grpc_port=port))
        await again.stop(0)
        return port, again.port

    port, again = patiently(scenario())
    assert port == again


@pytest.mark.parametrize("name", ["", "inference.GRPCInferenceService"])
def test_health_follows_the_service(name):
    async def scenario():
        service = EchoService()
        async with connected(service, token="secret") as channel:
            before = (await asked(channel, name)).status
            service.ready = False
            return before, (await asked(channel, name)).status

    assert patiently(scenario()) == (SERVING, NOT_SERVING)


def test_the_health_of_an_unknown_service_is_not_found():
    async def scenario():
        async with connected(EchoService()) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asked(channel, "another")
            return caught.value.code()

    assert patiently(scenario()) == grpc.StatusCode.NOT_FOUND


def test_a_watch_tells_every_change_and_ends_with_the_server(monkeypatch):
    monkeypatch.setattr(health, "_INTERVAL_S", 0.005)

    async def scenario():
        service = EchoService()
        async with (
            served(service) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            watch = watched(channel)
            told = [(await watch.read()).status]
            service.ready = False
            told.append((await watch.read()).status)
            service.ready = True
            told.append((await watch.read()).status)
            stopping = asyncio.create_task(server.stop(PATIENCE))
            told.append((await watch.read()).status)
            assert await watch.read() is grpc.aio.EOF
            assert await watch.code() == grpc.StatusCode.OK
            await stopping
        return told

    assert patiently(scenario()) == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]


def test_a_watch_of_an_unknown_service_says_so_and_goes_on(monkeypatch):
    monkeypatch.setattr(health, "_INTERVAL_S", 0.005)

    async def scenario():
        async with connected(EchoService()) as channel:
            watch = watched(channel, "another")
            status = (await watch.read()).status
            watch.cancel()
            return status

    assert patiently(scenario()) == SERVICE_UNKNOWN

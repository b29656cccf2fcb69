"""What a client may send: bytes, packed or not, and headers."""

import asyncio
import gzip
import socket

import grpc
import numpy as np
import pytest
from rpc_stand_ins import PATIENCE, EchoService, model, request, served, stub

from nd_deploy.serve.exchange import ModelState
from nd_deploy.serve.rpc.limits import message_limit
from nd_deploy.serve.settings import Settings

MIB = 2**20


def code_of(call, service=None, compression=None, **settings):
    async def ask():
        async with (
            served(service or EchoService(), **settings) as server,
            grpc.aio.insecure_channel(
                f"127.0.0.1:{server.port}", compression=compression
            ) as channel,
        ):
            try:
                await asyncio.wait_for(call(channel), PATIENCE)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    return asyncio.run(ask())


def with_padding(size):
    return lambda channel: stub(channel).ModelInfer(request(), metadata=(("padding", "x" * size),))


def of_size(size):
    return lambda channel: stub(channel).ModelInfer(request(np.zeros((1, size // 4), np.float32)))


def test_a_message_over_the_limit_is_refused():
    code = code_of(of_size(2 * MIB), body_limit=MIB)

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_message_that_unpacks_to_more_than_the_limit_is_refused(compression):
    size = 4 * MIB
    assert len(gzip.compress(bytes(size), 6)) < MIB

    code = code_of(of_size(size), compression=compression, body_limit=MIB)

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_largest_batch_of_a_model_raises_the_limit():
    service = EchoService(model("echo", size=MIB // 4, max_batch=2))
    largest = request(np.zeros((2, MIB // 4), np.float32))

    code = code_of(lambda channel: stub(channel).ModelInfer(largest), service, body_limit=1000)

    assert code == grpc.StatusCode.OK


def test_the_limit_is_that_of_the_most_hungry_model():
    # A quarter more than the largest batch: 4 x 1000 x 8 bytes.
    service = EchoService(model("small"), model("large", "FP64", size=1000))
    service.states = [ModelState("absent", "1", "UNAVAILABLE")]

    assert message_limit(service, Settings(body_limit=100)) == 40_000
    assert message_limit(service, Settings(body_limit=50_000)) == 50_000


def test_the_limit_stays_within_what_grpc_counts():
    service = EchoService(model("huge", size=2**30, max_batch=8))

    assert message_limit(service, Settings()) == 2**31 - 1


def test_headers_over_the_limit_are_refused():
    assert code_of(with_padding(8000), header_limit=16 * 1024) == grpc.StatusCode.OK
    assert (
        code_of(with_padding(20_000), header_limit=16 * 1024) == grpc.StatusCode.RESOURCE_EXHAUSTED
    )


def test_a_connection_that_sends_nothing_is_closed():
    async def scenario():
        async with served(EchoService(), header_timeout=0.1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            try:
                # gRPC sends its settings first.
                while await asyncio.wait_for(reader.read(1024), PATIENCE):
                    pass
            except ConnectionResetError:
                pass
            writer.close()

    asyncio.run(scenario())


def test_connections_over_the_limit_are_closed():
    async def scenario():
        async with served(EchoService(), connection_limit=1) as server:
            address = f"127.0.0.1:{server.port}"
            async with (
                grpc.aio.insecure_channel(address) as first,
                grpc.aio.insecure_channel(address, options=[("first", 0)]) as second,
            ):
                await stub(first).ModelInfer(request())
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub(second).ModelInfer(request())
                return caught.value.code()

    assert asyncio.run(scenario()) == grpc.StatusCode.UNAVAILABLE


def test_the_port_is_not_shared():
    async def scenario():
        async with served(EchoService()) as server:
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", server.port))

    asyncio.run(scenario())

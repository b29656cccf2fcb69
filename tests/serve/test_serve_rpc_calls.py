"""Calls under way: deadlines, cancellation, many at once, and the server's end."""

import asyncio

import grpc
import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from rpc_stand_ins import PATIENCE, EchoService, HeldService, connected, request, served, stub

from nd_deploy.serve.rpc import server as server_module


def patiently(scenario):
    return asyncio.run(asyncio.wait_for(scenario, PATIENCE))


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


@pytest.mark.parametrize(
    ("deadline", "microseconds", "low", "high"),
    # On its way a deadline is rounded up.
    [(None, None, None, None), (60, None, 50, 61), (60, 2_000_000, 2, 2), (60, 90_000_000, 50, 61)],
)
def test_the_shorter_of_deadline_and_timeout_reaches_the_service(deadline, microseconds, low, high):
    async def scenario():
        service = EchoService()
        message = request()
        if microseconds:
            message.parameters["timeout"].int64_param = microseconds
        async with connected(service) as channel:
            await stub(channel).ModelInfer(message, timeout=deadline)
        return service.requests[0].timeout

    timeout = patiently(scenario())

    assert timeout is None if low is None else low <= timeout <= high


def test_a_deadline_that_passes_cancels_the_request():
    async def scenario():
        service = HeldService()
        async with connected(service) as channel:
            code = await code_of(stub(channel).ModelInfer(request(), timeout=0.1))
            await service.cancelled.wait()
        return code

    assert patiently(scenario()) == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_cancelled_call_cancels_the_request():
    async def scenario():
        service = HeldService()
        async with connected(service) as channel:
            call = stub(channel).ModelInfer(request())
            await service.arrived()
            call.cancel()
            await service.cancelled.wait()
        return service.requests

    assert patiently(scenario()) == []


def test_a_client_that_goes_away_cancels_its_requests():
    async def scenario():
        service = HeldService(expected=3)
        async with served(service) as server:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            calls = [stub(channel).ModelInfer(request()) for _ in range(3)]
            await service.arrived()
            await channel.close()
            await service.cancelled.wait()
            await asyncio.gather(*calls, return_exceptions=True)

    patiently(scenario())


def test_tritons_asynchronous_client_gets_every_answer_to_its_own_request():
    async def ask(client, number):
        array = np.full((1, 3), number, np.float32)
        tensor = triton.InferInput("x", array.shape, "FP32")
        tensor.set_data_from_numpy(array)
        result = await client.infer("echo", [tensor], request_id=str(number))
        return result.get_response().id, result.as_numpy("y").tolist()

    async def scenario():
        async with (
            served(EchoService()) as server,
            triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        ):
            return await asyncio.gather(*(ask(client, number) for number in range(64)))

    assert patiently(scenario()) == [(str(n), [[n, n, n]]) for n in range(64)]


def test_a_connection_has_128_calls_under_way_and_the_others_wait():
    async def scenario():
        service = HeldService(expected=128)
        async with connected(service) as channel:
            calls = [stub(channel).ModelInfer(request()) for _ in range(150)]
            await service.arrived()
            service.release.set()
            answers = await asyncio.gather(*calls)
        return service.peak, len(answers)

    assert patiently(scenario()) == (128, 150)


def test_calls_over_the_limit_of_the_server_are_refused():
    async def scenario():
        service = HeldService(expected=2)
        async with connected(service, connection_limit=2) as channel:
            calls = [stub(channel).ModelInfer(request()) for _ in range(2)]
            await service.arrived()
            code = await code_of(stub(channel).ModelInfer(request()))
            service.release.set()
            await asyncio.gather(*calls)
        return code

    assert patiently(scenario()) == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_under_way_are_finished_while_no_more_are_taken(monkeypatch):
    async def scenario():
        notice_is_over = asyncio.Event()
        monkeypatch.setattr(server_module, "_give", lambda _: notice_is_over.wait())
        service = HeldService(expected=16)
        async with served(service) as server:
            address = f"127.0.0.1:{server.port}"
            async with (
                grpc.aio.insecure_channel(address) as early,
                grpc.aio.insecure_channel(address) as late,
            ):
                calls = [stub(early).ModelInfer(request(id=str(n))) for n in range(16)]
                await service.arrived()
                stopping = asyncio.create_task(server.stop(PATIENCE))
                await asyncio.sleep(0)
                codes = [await code_of(stub(each).ModelInfer(request())) for each in (early, late)]
                notice_is_over.set()
                await asyncio.sleep(0)
                service.release.set()
                answers = await asyncio.gather(*calls)
                await stopping
        return codes, [answer.id for answer in answers]

    codes, ids = patiently(scenario())

    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2
    assert ids == [str(n) for n in range(16)]


def test_no_connection_is_taken_after_the_end():
    async def scenario():
        async with served(EchoService()) as server:
            await server.stop(0)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                return await code_of(stub(channel).ModelInfer(request()))

    assert patiently(scenario()) == grpc.StatusCode.UNAVAILABLE


def test_calls_that_outlast_the_grace_are_cancelled():
    async def scenario():
        service = HeldService()
        async with (
            served(service) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            call = stub(channel).ModelInfer(request())
            await service.arrived()
            await server.stop(0.05)
            await service.cancelled.wait()
            return await code_of(call)

    assert patiently(scenario()) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

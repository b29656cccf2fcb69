"""What logs and metrics are told of calls."""

import asyncio

import grpc
import pytest
from rpc_stand_ins import PATIENCE, EchoService, HeldService, connected, request, served, stub

from nd_deploy.serve.http.request_id import current
from nd_deploy.serve.refusal import Refusal

PATH = "/inference.GRPCInferenceService/ModelInfer"


def observed(service, act, **settings):
    """What is told of the calls that `act` makes, and what `act` gives."""
    told = []

    async def scenario():
        async with connected(service, told.append, **settings) as channel:
            return await act(channel)

    return asyncio.run(asyncio.wait_for(scenario(), PATIENCE)), told


async def infer(channel, *metadata):
    call = stub(channel).ModelInfer(request(), metadata=metadata)
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return dict(error.trailing_metadata())["x-request-id"]
    return dict(await call.trailing_metadata())["x-request-id"]


def test_an_answer_is_told_in_the_terms_of_rest():
    identifier, [told] = observed(EchoService(), infer)

    assert told[:3] == ("POST", PATH, 200)
    assert 0 < told.seconds < PATIENCE
    assert told[4:] == (identifier, "127.0.0.1", "")
    assert identifier


def test_a_refusal_is_told_with_its_reason():
    service = EchoService()
    service.refusal = Refusal(429, "queue full", "ask later", 1)

    identifier, [told] = observed(service, infer)

    assert (told.status, told.reason, told.request_id) == (429, "queue full", identifier)


def test_a_call_without_the_token_is_told():
    _, [told] = observed(EchoService(), infer, token="secret")

    assert (told.status, told.reason) == (401, "token")


def test_a_call_that_is_cancelled_is_told_as_such():
    service = HeldService()

    async def cancel(channel):
        call = stub(channel).ModelInfer(request())
        await service.arrived()
        call.cancel()
        await service.cancelled.wait()

    _, [told] = observed(service, cancel)

    assert told.status == 499


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123", True), ("a b", False), ("x" * 129, False), ("", False)]
)
def test_a_plain_id_of_the_client_is_kept(given, kept):
    identifier, _ = observed(EchoService(), lambda channel: infer(channel, ("x-request-id", given)))

    assert (identifier == given) is kept
    assert identifier


def test_the_id_is_known_to_whatever_a_call_logs():
    class Asking(EchoService):
        async def infer(self, asked):
            self.seen = current.get()
            return await super().infer(asked)

    service = Asking()

    identifier, _ = observed(service, infer)

    assert service.seen == identifier


def test_a_client_with_an_ipv6_address_is_told():
    told = []

    async def scenario():
        async with (
            served(EchoService(), told.append, host="::1") as server,
            grpc.aio.insecure_channel(f"[::1]:{server.port}") as channel,
        ):
            await stub(channel).ModelInfer(request())

    asyncio.run(scenario())
    assert told[0].client == "::1"

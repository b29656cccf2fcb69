"""What clients are told when there is no answer."""

import asyncio
import logging

import grpc
import pytest
import tritonclient.grpc.aio as triton
from rpc_stand_ins import EchoService, connected, request, served, stub
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from nd_deploy.serve import refusal
from nd_deploy.serve.refusal import Refusal

INFER = "/inference.GRPCInferenceService/ModelInfer"
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def refused(call, service=None, **settings):
    """The error of a call, of which a channel is given."""

    async def ask():
        async with connected(service or EchoService(), **settings) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel)
            return caught.value

    return asyncio.run(ask())


def infer(channel):
    return stub(channel).ModelInfer(request())


def test_every_status_has_a_code():
    assert set(CODES) == {value for name, value in vars(refusal).items() if name.isupper()}


@pytest.mark.parametrize("status", CODES)
def test_a_refusal_has_the_code_of_its_status(status):
    service = EchoService()
    service.refusal = Refusal(status, "a reason", "it cannot be")

    error = refused(infer, service)

    assert (error.code(), error.details()) == (CODES[status], "it cannot be")


def test_a_refusal_says_after_which_time_to_ask_again():
    service = EchoService()
    service.refusal = Refusal(429, "queue full", "ask later", retry_after=2)

    error = refused(infer, service)

    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "2000"


def test_tritons_client_shows_the_message_and_the_code():
    async def ask():
        async with (
            served(EchoService()) as server,
            triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
        ):
            await client.get_model_metadata("nobody")

    with pytest.raises(InferenceServerException) as caught:
        asyncio.run(ask())
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert "no model 'nobody'" in caught.value.message()


def test_a_fault_is_told_to_the_log_and_not_to_the_client(caplog):
    service = EchoService()
    service.refusal = KeyError("/secret/path")

    with caplog.at_level(logging.ERROR):
        error = refused(infer, service)

    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    [told] = [record for record in caplog.records if record.name.startswith("nd_deploy")]
    assert "secret" in str(told.exc_info[1])
    assert dict(error.trailing_metadata())["x-request-id"] in told.getMessage()


@pytest.mark.parametrize(
    "method", ["ModelMetadata", "ModelConfig", "ModelStatistics", "ModelInfer"]
)
def test_an_unknown_model_is_refused(method):
    name = {"model_name" if method == "ModelInfer" else "name": "nobody"}
    message = getattr(service_pb2, f"{method}Request")(**name)

    error = refused(lambda channel: getattr(stub(channel), method)(message))

    assert error.code() == grpc.StatusCode.NOT_FOUND


def test_a_method_that_is_not_served_is_unimplemented():
    message = service_pb2.RepositoryModelUnloadRequest(model_name="echo")

    error = refused(lambda channel: stub(channel).RepositoryModelUnload(message))

    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_index_of_another_repository_is_refused():
    message = service_pb2.RepositoryIndexRequest(repository_name="other")

    error = refused(lambda channel: stub(channel).RepositoryIndex(message))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


# Small requests are parsed at once, and the parts of large ones are counted first.
@pytest.mark.parametrize(
    "before", [b"", b"\x3a\xff\xff\x01" + bytes(32767)], ids=["small", "large"]
)
@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x0a\x05ab",
        b"\x0a" + b"\xff" * 11,
        b"\x0b",
        b"\x0f",
        b"\x0d\x00",
        b"\x0a\x01\xff",
        request().SerializeToString()[:-1],
    ],
)
def test_bytes_that_are_no_request_are_refused(before, data):
    error = refused(lambda channel: channel.unary_unary(INFER)(before + data))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "no protobuf message" in error.details()


def test_a_call_without_a_request_is_refused():
    error = refused(lambda channel: channel.stream_unary(INFER)(iter(())))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_that_does_not_come_is_not_waited_for():
    async def start_only(channel):
        # Nothing is written, and the call not ended either.
        await channel.stream_unary(INFER)()

    error = refused(start_only, body_timeout=0.05)

    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "did not come within 0.05 s" in error.details()


def infer_with(*metadata):
    return lambda channel: stub(channel).ModelInfer(request(), metadata=metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Bearer secre"),),
        (("authorization", "secret"),),
        (("authorization", "Basic_ secret"),),
        (("token", "Bearer secret"),),
        (("authorization-bin", b"Bearer secret"),),
    ],
)
def test_a_call_without_the_token_is_refused(metadata):
    service = EchoService()

    error = refused(infer_with(*metadata), service, token="secret")

    assert error.code() == grpc.StatusCode.UNAUTHENTICATED
    assert not service.requests


def test_a_call_without_the_token_is_refused_before_its_request_comes():
    async def start_only(channel):
        await channel.stream_unary(INFER)()

    error = refused(start_only, token="secret", body_timeout=60)

    assert error.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_call_with_the_token_is_answered_and_probes_need_none():
    async def ask():
        async with connected(EchoService(), token="secret") as channel:
            await infer_with(("authorization", "Bearer secret"))(channel)
            await infer_with(("authorization", "bearer  secret "))(channel)
            live = await stub(channel).ServerLive(service_pb2.ServerLiveRequest())
            ready = await stub(channel).ServerReady(service_pb2.ServerReadyRequest())
            return live.live, ready.ready

    assert asyncio.run(ask()) == (True, True)

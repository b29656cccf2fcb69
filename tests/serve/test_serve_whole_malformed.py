"""Malformed requests over real sockets: each has its status, and many leave nothing behind."""

import json
import os
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest
from malformed_requests import GOOD, PATH, REFUSED, UNFINISHED, VALUES
from served_bundle import scores, write
from tritonclient.grpc import service_pb2
from whole_server import PATIENCE, ServeProcess, serving, until

MIB = 2**20
COUNT = 10_000
WARM_UP = 400
# What an allocator may keep, and a descriptor that is opened once and stays.
MEMORY = 4 * MIB
DESCRIPTORS = 1


class Wire:
    """A connection that sends bytes, and reads answers as they come."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = self._socket.makefile("rb")

    def send(self, data):
        self._socket.sendall(data)

    def answer(self):
        """The status, whether the connection goes on, and the body of the next answer."""
        status = int(self._read.readline().split(b" ")[1])
        headers = {}
        while line := self._read.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        body = self._read.read(int(headers[b"content-length"]))
        return status, headers.get(b"connection") != b"close", body

    def close(self):
        self._read.close()
        self._socket.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture(scope="module")
def address(bundle):
    with serving({"tiny": bundle}, grpc_port=None) as running:
        yield running.http


def ask(address, data):
    wire = Wire(address)
    wire.send(data)
    status, _, body = wire.answer()
    wire.close()
    return status, json.loads(body)


@pytest.mark.parametrize(("status", "data"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_request_has_its_status_and_a_sentence(address, status, data):
    found, document = ask(address, data)
    assert found == status, document
    assert list(document) == ["error"]
    assert len(document["error"]) < 400
    assert not {"Traceback", "File ", "onnxruntime"} & set(document["error"].split())


def test_a_body_in_pieces_is_counted_while_it_comes(bundle):
    with serving({"tiny": bundle}, grpc_port=None, body_limit=1024) as running:
        wire = Wire(running.http)
        wire.send(
            f"POST {PATH} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        wire.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert wire.answer()[0] == 413
        wire.close()


@pytest.mark.parametrize("part", [GOOD[:20], GOOD[:-3]], ids=["headers", "body"])
def test_a_request_that_does_not_come_to_an_end_is_not_awaited_for_ever(bundle, part):
    times = {"header_timeout": 0.1, "body_timeout": 0.1}
    with serving({"tiny": bundle}, grpc_port=None, **times) as running:
        wire = Wire(running.http)
        wire.send(part)
        status, goes_on, _ = wire.answer()
        assert (status, goes_on) == (408, False)
        wire.close()


class Process:
    """What a server's process holds, as the system counts it."""

    def __init__(self, number):
        self._folder = Path(f"/proc/{number}")

    @property
    def memory(self):
        """Bytes of it that are in memory."""
        pages = int((self._folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self):
        return len(list((self._folder / "fd").iterdir()))


@pytest.fixture
def served(bundle):
    """A server in a process of its own: what it holds, and its addresses."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    limits = ("--limit", "body_limit=1MiB", "--limit", "image_bytes=1MiB")
    with ServeProcess(f"tiny={bundle}", "--http-port", 0, "--grpc-port", 0, *limits) as process:
        http_address, grpc_address = process.wait_until_ready()
        yield Process(process.process.pid), http_address, grpc_address
        assert process.end() == 0


def send_many(address, count):
    """Send malformed requests, over connections that stay open and over ones that do not.

    Returns:
        The statuses that are not the right ones, by the requests' names.
    """
    wrong = {}
    requests = list(REFUSED.items())
    wire = None
    for number in range(count):
        name, (status, data) = requests[number % len(requests)]
        wire = wire or Wire(address)
        wire.send(data)
        found, goes_on, _ = wire.answer()
        if found != status:
            wrong[name] = found
        if not goes_on or name == UNFINISHED or number % 7 == 0:
            wire.close()
            wire = None
    if wire is not None:
        wire.close()
    return wrong


def test_ten_thousand_of_them_leave_memory_and_descriptors_where_they_were(served):
    process, address, _ = served
    assert send_many(address, WARM_UP) == {}
    memory, descriptors = process.memory, process.descriptors
    assert send_many(address, COUNT) == {}
    assert ask(address, GOOD)[0] == 200
    assert process.memory <= memory + MEMORY
    until(lambda: process.descriptors <= descriptors + DESCRIPTORS)


INFER = "/inference.GRPCInferenceService/ModelInfer"
CODE = grpc.StatusCode


def message(raw=None, model="tiny", version="", **changes):
    given = {"name": "image", "datatype": "FP32", "shape": [1, 1, 2, 2]} | changes
    data = np.array(VALUES, "<f4").tobytes() if raw is None else raw
    tensor = service_pb2.ModelInferRequest.InferInputTensor(**given)
    return service_pb2.ModelInferRequest(
        model_name=model, model_version=version, inputs=[tensor], raw_input_contents=[data]
    ).SerializeToString()


CALLS = {
    "no protobuf": (CODE.INVALID_ARGUMENT, b"\xff" * 30),
    "empty": (CODE.NOT_FOUND, b""),
    "wrong shape": (CODE.INVALID_ARGUMENT, message(shape=[1, 4])),
    "huge shape": (CODE.INVALID_ARGUMENT, message(shape=[10**9, 1, 2, 2])),
    "negative size": (CODE.INVALID_ARGUMENT, message(shape=[-1, 1, 2, 2])),
    "batch 0": (CODE.INVALID_ARGUMENT, message(b"", shape=[0, 1, 2, 2])),
    "wrong datatype": (CODE.INVALID_ARGUMENT, message(datatype="INT32")),
    "no such datatype": (CODE.INVALID_ARGUMENT, message(datatype="FLOAT")),
    "too short": (CODE.INVALID_ARGUMENT, message(b"123")),
    "not finite": (CODE.INVALID_ARGUMENT, message(np.full(4, np.nan, "<f4").tobytes())),
    "unknown input": (CODE.INVALID_ARGUMENT, message(name="x")),
    "unknown model": (CODE.NOT_FOUND, message(model="x")),
    "unknown version": (CODE.NOT_FOUND, message(version="9")),
}
# gRPC takes its time for it.
TOO_LARGE = message(bytes(2 * MIB))


def call_many(address, count):
    wrong = {}
    calls = list(CALLS.items())
    for first in range(0, count, 50):
        with grpc.insecure_channel(address) as channel:
            infer = channel.unary_unary(INFER)
            for number in range(first, first + 50):
                name, (code, data) = calls[number % len(calls)]
                try:
                    infer(data, timeout=PATIENCE)
                    wrong[name] = "an answer"
                except grpc.RpcError as error:
                    if error.code() != code:
                        wrong[name] = (error.code(), error.details())
    return wrong


def test_malformed_calls_leave_nothing_behind_either(served):
    process, _, address = served
    assert call_many(address, 200) == {}
    memory, descriptors = process.memory, process.descriptors
    assert call_many(address, 600) == {}
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(INFER)
        with pytest.raises(grpc.RpcError) as refused:
            infer(TOO_LARGE, timeout=PATIENCE)
        assert refused.value.code() == CODE.RESOURCE_EXHAUSTED
        answer = infer(message(), timeout=PATIENCE)
    (data,) = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents
    x = np.array(VALUES, np.float32).reshape(1, 1, 2, 2)
    assert np.allclose(np.frombuffer(data, "<f4"), scores(x))
    assert process.memory <= memory + MEMORY
    until(lambda: process.descriptors <= descriptors + DESCRIPTORS)

"""A server in a thread, a service that stands in for models, and clients that speak bytes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import socket
import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from nd_deploy.serve.exchange import InferResponse, ModelSpec, ModelState, TensorSpec
from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.server import Server
from nd_deploy.serve.refusal import NOT_FOUND, NOT_READY, Refusal
from nd_deploy.serve.settings import Settings

SPEC = ModelSpec(
    name="double",
    version="1",
    inputs=(TensorSpec("x", "FP32", (-1, 4)),),
    outputs=(TensorSpec("y", "FP32", (-1, 4)),),
    max_batch=8,
    batching=True,
)
LOADING = "loading"
INFER = "/v2/models/double/infer"
# Long enough for a loaded machine; nothing waits for it where the server does what it has to.
PATIENCE = 20.0


class Doubling:
    """A service with a model that doubles, and holds its answers back if it is told to."""

    def __init__(self, held: bool = False) -> None:
        self.ready = True
        self.asked = threading.Semaphore(0)
        self.cancelled = threading.Event()
        self.fault: Exception | None = None
        self._free = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        if not held:
            self._free.set()

    def spec(self, model, version=None):
        if model == LOADING:
            raise Refusal(NOT_READY, "not ready", "the model is loading", retry_after=1)
        if model != SPEC.name or version not in (None, SPEC.version):
            raise Refusal(NOT_FOUND, "no model", "there is no such model")
        return SPEC

    def models(self):
        return [
            ModelState(SPEC.name, "1", "READY"),
            ModelState(LOADING, "1", "LOADING", "it is being loaded"),
        ]

    async def infer(self, request):
        self._loop = asyncio.get_running_loop()
        self.asked.release()
        try:
            await self._free.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.fault is not None:
            raise self.fault
        return InferResponse(SPEC, request.id, {"y": 2 * request.inputs["x"]})

    def statistics(self, model=None):
        if model not in (None, SPEC.name):
            raise Refusal(NOT_FOUND, "no model", "there is no such model")
        return [{"name": SPEC.name, "version": "1", "inference_count": 7}]

    def wait_until_asked(self, times=1):
        for _ in range(times):
            assert self.asked.acquire(timeout=PATIENCE)

    def let_go(self):
        self._loop.call_soon_threadsafe(self._free.set)


@dataclass
class Running:
    """A server that runs in a thread."""

    server: Server
    thread: threading.Thread
    outcome: list = field(default_factory=list)

    @property
    def address(self):
        return self.server.address

    def connect(self):
        connection = socket.create_connection(self.address, timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def client(self):
        return contextlib.closing(http.client.HTTPConnection(*self.address, timeout=PATIENCE))

    def join(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        (result,) = self.outcome
        if isinstance(result, BaseException):
            raise result
        return result


@contextlib.contextmanager
def run(app, settings=None, **others):
    """A server of an application, ended with the block."""
    settings = replace(settings or Settings(), http_port=0)
    server = Server(app, settings, **others)
    running = Running(server, threading.Thread(daemon=True, target=lambda: _run(running)))
    running.thread.start()
    try:
        yield running
    finally:
        server.stop()
        running.thread.join(PATIENCE)
        assert not running.thread.is_alive()


def _run(running):
    try:
        running.outcome.append(running.server.run())
    except BaseException as error:
        running.outcome.append(error)


@contextlib.contextmanager
def serve(service=None, settings=None, extras=None, **others):
    """A server of a service, ended with the block; it keeps what it told its observers."""
    service = service or Doubling()
    settings = settings or Settings()
    seen, refused = [], []
    app = make_app(service, settings, extras or Extras(), seen.append)
    with run(app, settings, refused=refused.append, **others) as running:
        running.seen, running.refused, running.service = seen, refused, service
        yield running


def ask(running, method, path, body=None, headers=None):
    """One request over a connection of its own."""
    with running.client() as client:
        return ask_over(client, method, path, body, headers)


def ask_over(client, method, path, body=None, headers=None):
    client.request(method, path, body, headers or {})
    answer = client.getresponse()
    content = answer.read()
    is_plain = "content-encoding" not in answer.headers
    is_json = is_plain and answer.headers.get("content-type") == "application/json" and content
    document = json.loads(content) if is_json else None
    return SimpleNamespace(
        status=answer.status, headers=answer.headers, content=content, json=document
    )


def infer_body(values):
    array = np.asarray(values, np.float32)
    document = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": list(array.shape),
                "data": array.ravel().tolist(),
            }
        ]
    }
    return json.dumps(document).encode()


def read_answer(connection):
    """A whole answer off a socket, by an independent parser."""
    return next(read_answers(connection))


def read_answers(connection):
    """One answer after the other off a socket, which may come at once."""
    source = _Source(socket.SocketIO(connection, "rb"))
    while True:
        answer = http.client.HTTPResponse(source)
        answer.begin()
        content = answer.read()
        yield SimpleNamespace(status=answer.status, headers=answer.headers, content=content)


class _Source(io.BufferedReader):
    """What the next answer is read from too: so one does not close it, nor read on in another."""

    def makefile(self, _):
        return self

    def close(self):
        pass


def is_closed(connection):
    """Whether the server closes the connection, without a further word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True

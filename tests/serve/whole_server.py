"""A whole server of real bundles: in a thread of this process, or as the process a user starts."""

import contextlib
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from nd_deploy.serve.application import make_server
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.settings import Settings

# Long enough for a loaded machine; nothing waits for it where the server does what it has to.
PATIENCE = 60.0
_LOOK = 0.005


@contextlib.contextmanager
def serving(bundles, **settings):
    """A server of bundles by name, which is ready and is ended with the block."""
    with starting(bundles, **settings) as running:
        running.wait_until_ready()
        yield running


@contextlib.contextmanager
def starting(bundles, **settings):
    """A server of bundles by name, which may not be ready yet, and is ended with the block."""
    sources = [Source(name, path) for name, path in bundles.items()]
    running = ServerThread(sources, Settings(**{"http_port": 0, "grpc_port": 0} | settings))
    try:
        yield running
    finally:
        running.end()


class ServerThread:
    """A server in a thread.

    Attributes:
        http: its address.
        grpc: its address, once it is ready; None before, and where it has none.
    """

    def __init__(self, sources, settings):
        self._started = queue.Queue()
        self._server = make_server(sources, settings, lambda _, port: self._started.put(port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        host, port = self._server.address
        self.http, self.grpc = f"{host}:{port}", None

    def _run(self):
        try:
            self._server.run()
        except BaseException as error:
            self._started.put(error)

    def wait_until_ready(self):
        port = self._started.get(timeout=PATIENCE)
        if isinstance(port, BaseException):
            raise port
        self.grpc = None if port is None else f"127.0.0.1:{port}"

    def end(self):
        self._server.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


class ServeProcess:
    """`nd-deploy serve`, as a user starts it; it is killed with the block if it still runs.

    Args:
        arguments: of the command.
        environment: what is to differ from this process's.
    """

    def __init__(self, *arguments, **environment):
        self._command = [sys.executable, "-m", "nd_deploy", "serve", *map(str, arguments)]
        self._environment = {**os.environ, **environment}
        self._lines = {"stdout": queue.Queue(), "stderr": queue.Queue()}
        self.said = {"stdout": [], "stderr": []}

    def __enter__(self):
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in self._lines
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)

    def _read(self, name):
        with getattr(self.process, name) as stream:
            for line in stream:
                self.said[name].append(line)
                self._lines[name].put(line)
        self._lines[name].put(None)

    def line(self, name, word):
        """The next line of a stream that has a word in it."""
        while True:
            line = self._lines[name].get(timeout=PATIENCE)
            assert line is not None, self.output
            if word in line:
                return line

    @property
    def output(self):
        """All that it has said so far."""
        return "".join(self.said["stdout"] + self.said["stderr"])

    def wait_until_ready(self):
        """The addresses of HTTP and gRPC that it names."""
        http_address = self.line("stdout", "ready: ").rsplit("http://")[1].strip()
        return http_address, self.line("stdout", "gRPC on ").rsplit(maxsplit=1)[1]

    def end(self, number=signal.SIGTERM):
        """Send it a signal.

        Returns:
            Its exit code.
        """
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code


def until(condition):
    """Wait until something is so that another process brings about, and tells nobody."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / _LOOK)):
        if condition():
            return
        pause.wait(_LOOK)
    raise AssertionError("it never came")


def ask(address, method, path, body=None, headers=None):
    """One request over a connection of its own: its status, headers, and body, read if JSON."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as client:
        client.request(method, path, body, headers or {})
        answer = client.getresponse()
        content = answer.read()
    is_json = answer.headers.get_content_type() == "application/json" and content
    return SimpleNamespace(
        status=answer.status,
        headers=answer.headers,
        content=content,
        json=json.loads(content) if is_json else None,
    )


def infer_json(x, **more):
    """The body of a request in JSON."""
    given = {"name": "image", "datatype": "FP32", "shape": list(x.shape), "data": x.tolist()}
    return json.dumps({"inputs": [given], **more}).encode()


def expected(bundle, x):
    """What the bundle's model gives by the reference implementation of ONNX."""
    (scores,) = ReferenceEvaluator(onnx.load(bundle / "model.onnx")).run(None, {"image": x})
    return scores


def check_close(found, wanted):
    """Two float32 results of a sum of four agree to its rounding."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert np.abs(found - wanted).max() <= 8 * np.finfo(np.float32).eps * np.abs(wanted).max()

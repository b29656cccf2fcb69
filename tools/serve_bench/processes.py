"""The processes that are measured: servers, and bare ONNX Runtime, each on one processor."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serve_bench.requests_on_wire import GRPC

_HERE = Path(__file__).parent
_ENDS_WITHIN = 30


@dataclass(frozen=True)
class Pins:
    """The processors that things run on; None where there are too few to choose.

    Attributes:
        server: of servers and of bare ONNX Runtime.
        client: of clients.
    """

    server: int | None
    client: int | None


def pins() -> Pins:
    """Two of the processors that this process may use, if it may use two."""
    usable = sorted(os.sched_getaffinity(0))
    return Pins(usable[0], usable[1]) if len(usable) > 1 else Pins(None, None)


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        process: its number.
        http_port: of REST.
        grpc_port: of gRPC; None for none.
        seconds_to_ready: from its start to its saying so; None if it was there before.
    """

    process: int
    http_port: int
    grpc_port: int | None
    seconds_to_ready: float | None = None


@contextlib.contextmanager
def serving(bundle: Path, pin: int | None, *options: str) -> Iterator[Server]:
    """Run `nd-deploy serve` on any free ports, and end it as an operator would.

    Raises:
        RuntimeError: it did not become ready, or did not end well.
    """
    command = [
        *(sys.executable, "-m", "nd_deploy", "serve", str(bundle), *options),
        *("--http-port", "0", "--grpc-port", "0", "--threads", "1"),
    ]
    begun = time.perf_counter()
    process = _start(command, pin)
    try:
        http_port = _port(process, f"ready: {bundle.name} on ")
        seconds = time.perf_counter() - begun
        yield Server(process.pid, http_port, _port(process, "gRPC on "), seconds)
    except BaseException:
        process.kill()
        raise
    finally:
        process.terminate()
        _, told = process.communicate(timeout=_ENDS_WITHIN)
    if process.returncode:
        raise RuntimeError(f"nd-deploy serve ended with {process.returncode}: {told}")


class Bare:
    """A process of `serve_bench.bare` that waits to be told what to run.

    Args:
        process: started, and ready.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def run(self, batch: int, seconds: float) -> dict[str, Any]:
        """See `serve_bench.bare`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{batch} {seconds}\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@contextlib.contextmanager
def bare_runtime(model: Path, x: Path, pin: int | None) -> Iterator[Bare]:
    """Run ONNX Runtime and nothing else."""
    process = _start([sys.executable, str(_HERE / "bare.py"), str(model), str(x)], pin)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("ONNX Runtime did not load the model")
        yield Bare(process)
    finally:
        process.kill()
        process.communicate()


def ask(
    server: Server, form: str, request: Path, concurrency: int, seconds: float, pin: int | None
) -> list[float]:
    """Send a request over and over; the seconds that each took."""
    how, port = ("grpc", server.grpc_port) if form == GRPC else ("http", server.http_port)
    words = [how, port, concurrency, seconds, request]
    command = [sys.executable, str(_HERE / "client.py"), *map(str, words)]
    process = _start(command, pin)
    answered, told = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a client of {form} failed: {told}")
    taken: list[float] = json.loads(answered)
    return taken


def _start(command: list[str], pin: int | None) -> subprocess.Popen[str]:
    # Before the program begins: threads keep the processors of the thread that started them.
    settle = None if pin is None else partial(os.sched_setaffinity, 0, {pin})
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=settle
    )


def _port(process: subprocess.Popen[str], announced: str) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r":(\d+)$", line.strip())
    if found is None or announced not in line:
        raise RuntimeError(f"nd-deploy serve said {line!r}, and not {announced!r} with a port")
    return int(found[1])

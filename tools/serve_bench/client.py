"""Sends one request over and over, and prints as JSON how many seconds each answer took.

    python tools/serve_bench/client.py http|grpc PORT CONCURRENCY SECONDS FILE

FILE holds the request: all of it for HTTP, the message for gRPC. Where it has the id below, each
that is sent has another of the same length. A process of its own, so that what
it takes is not the server's, and lean, so that it is never what is waited for: HTTP is spoken on
bare sockets.
"""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import sys
import time
from pathlib import Path

ID = b"id 000000000"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBERS = itertools.count()
_END = b"\r\n\r\n"
_GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Connection:
    """A connection to a server that is asked one thing after the other.

    Args:
        port: of the server.
        request: to be sent each time; see ID.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._before, self._has_id, self._after = request.partition(ID)
        self._got = b""
        self._sent = 0.0

    def ask(self) -> None:
        """Send the request."""
        request = self._before
        if self._has_id:
            request += b"id %09d" % next(_NUMBERS) + self._after
        self._got = b""
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> float | None:
        """Take what has come.

        Returns:
            Seconds from the request to the end of its answer; None if there is more to come.

        Raises:
            RuntimeError: the answer is another than 200, or the server has gone.
        """
        piece = self.socket.recv(2**20)
        self._got += piece
        if not piece or not b"HTTP/1.1 200".startswith(self._got[:12]):
            raise RuntimeError(f"the server answered {self._got[:500]!r}")
        return time.perf_counter() - self._sent if is_whole(self._got) else None


def is_whole(got: bytes) -> bool:
    """Whether an answer of HTTP with a Content-Length is all there."""
    head, end, body = got.partition(_END)
    length = _LENGTH.search(head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def ask_http(port: int, concurrency: int, seconds: float, request: bytes) -> list[float]:
    """Keep some connections busy for some seconds; the time of each answer."""
    connections = [Connection(port, request) for _ in range(concurrency)]
    by_number = {each.socket.fileno(): each for each in connections}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    end = time.perf_counter() + seconds
    taken: list[float] = []
    for each in connections:
        each.ask()
    waiting = concurrency
    while waiting:
        for number, _ in poll.poll():
            each = by_number[number]
            spent = each.read()
            if spent is None:
                continue
            taken.append(spent)
            if time.perf_counter() < end:
                each.ask()
            else:
                waiting -= 1
    for each in connections:
        each.socket.close()
    return taken


def ask_grpc(port: int, concurrency: int, seconds: float, request: bytes) -> list[float]:
    """Keep some calls under way for some seconds; the time of each."""
    import asyncio

    import grpc

    taken: list[float] = []

    async def ask(call: grpc.aio.UnaryUnaryMultiCallable, end: float) -> None:
        while True:
            start = time.perf_counter()
            if start >= end:
                return
            await call(request)
            taken.append(time.perf_counter() - start)

    async def ask_all() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(_GRPC_METHOD)
            end = time.perf_counter() + seconds
            await asyncio.gather(*(ask(call, end) for _ in range(concurrency)))

    asyncio.run(ask_all())
    return taken


def main(how: str, port: int, concurrency: int, seconds: float, file: str) -> None:
    """See above."""
    ask = {"http": ask_http, "grpc": ask_grpc}[how]
    print(json.dumps(ask(port, concurrency, seconds, Path(file).read_bytes())))


if __name__ == "__main__":
    _how, _port, _concurrency, _seconds, _file = sys.argv[1:]
    main(_how, int(_port), int(_concurrency), float(_seconds), _file)

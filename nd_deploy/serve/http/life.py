"""What lives and ends with the HTTP server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


async def _nothing() -> None:
    pass


async def _nothing_to_finish(_: float) -> None:
    pass


@dataclass(frozen=True)
class Part:
    """Something that lives and ends with the server, such as its models, or gRPC.

    Attributes:
        start: called once HTTP is served, part after part; it returns when the part is ready. It is
            cancelled if the server is to end before. An exception ends the server, and is raised.
        end: called when the server is to end, in no time: nothing is ready any more. What is asked
            is answered all the same.
        finish: takes no new requests, and waits for those under way, for so many seconds at most;
            all parts do so at once.
        close: called last, in the opposite order of `start`, also of a part that did not start.
    """

    start: Callable[[], Awaitable[None]] = _nothing
    end: Callable[[], None] = lambda: None
    finish: Callable[[float], Awaitable[None]] = _nothing_to_finish
    close: Callable[[], Awaitable[None]] = _nothing

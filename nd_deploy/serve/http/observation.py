"""What is told of each request that a route answered, for logs and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias


class Answered(NamedTuple):
    """A request, and how it was answered.

    Attributes:
        method: of HTTP.
        path: as the client has it, percent-decoded; anything may be in it.
        status: of HTTP; 499 if the client went away.
        seconds: from the request's headers to the answer.
        request_id: of the request.
        client: its address; "" where not known.
        reason: of a refusal; "" if it was none.
    """

    method: str
    path: str
    status: int
    seconds: float
    request_id: str
    client: str
    reason: str


Observe: TypeAlias = Callable[[Answered], None]


def unobserved(_: Answered) -> None:
    """Observe nothing."""

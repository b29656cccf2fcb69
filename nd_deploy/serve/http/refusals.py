"""The refusals of connections."""

from __future__ import annotations

from nd_deploy.serve.refusal import (
    BAD_REQUEST,
    NOT_READY,
    QUEUE_FULL,
    TIMED_OUT_SENDING,
    TOO_LARGE,
    Refusal,
)

_HEADERS_TOO_LARGE = 431
# As nginx logs it; nobody is there to be told.
_CLIENT_GONE = 499


def no_http() -> Refusal:
    """Something else was sent."""
    return Refusal(BAD_REQUEST, "no HTTP", "this is no request of HTTP/1.1")


def no_path() -> Refusal:
    """The request is one to a proxy, or to the server as a whole."""
    return Refusal(BAD_REQUEST, "no path", "the target of a request has to be a path")


def headers_too_large(limit: int) -> Refusal:
    """The headers have more than so many bytes, or something else that is of no use has."""
    return Refusal(_HEADERS_TOO_LARGE, "headers size", f"the headers are larger than {limit} bytes")


def body_unended() -> Refusal:
    """More of a body came after its request was answered than is thrown away."""
    return Refusal(TOO_LARGE, "body size", "the body went on after its request was answered")


def too_late(part: str, seconds: float) -> Refusal:
    """A part of the request did not come in time."""
    return Refusal(
        TIMED_OUT_SENDING, f"{part} time", f"the {part} did not come within {seconds:g} s"
    )


def too_many_connections(limit: int) -> Refusal:
    """There are as many as there may be."""
    return Refusal(
        NOT_READY, "connections", f"all {limit} connections are taken; try again", retry_after=1
    )


def too_many_ahead(limit: int) -> Refusal:
    """A client did not wait for its answers."""
    return Refusal(QUEUE_FULL, "pipelining", f"more than {limit} requests were sent ahead")


def client_gone() -> Refusal:
    """The client does not wait for its answer any more."""
    return Refusal(_CLIENT_GONE, "client gone", "the client went away")

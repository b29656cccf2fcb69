"""Refusals, and what clients read of them."""

from __future__ import annotations

import reprlib

import orjson

from nd_deploy.serve.refusal import BAD_REQUEST, Refusal

# What a client sent comes back in messages and logs; no more of it than makes it out.
_SHOWN = 80
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHOWN
_SHORT.maxlist = 8
_SHORT.maxlevel = 2


def bad_request(message: str, reason: str = "bad request") -> Refusal:
    """A refusal of status 400."""
    return Refusal(BAD_REQUEST, reason, message)


def not_finite(name: str) -> Refusal:
    """A refusal of an input that holds NaN or infinity."""
    return bad_request(
        f"input {shown(name)} holds NaN or infinity, which this server refuses; perf_analyzer "
        "sends them unless it is given --input-data zero",
        "not finite",
    )


def shown(value: object) -> str:
    """A client's value for a message: quoted if it is text, and short."""
    text = _SHORT.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def error_body(refusal: Refusal) -> bytes:
    """The body of an answer that is none: the protocol's inference error JSON object."""
    return orjson.dumps({"error": refusal.message})

"""What a queue tells those whom it does not answer."""

from __future__ import annotations

from nd_deploy.serve.refusal import (
    DEADLINE_PASSED,
    FAULT,
    NOT_READY,
    QUEUE_FULL,
    TOO_LARGE,
    Refusal,
)

# The least that HTTP can say. A queue that moves has room again well before.
_RETRY_AFTER = 1


def queue_full() -> Refusal:
    """For a request that would exceed the limits of what waits."""
    return Refusal(
        QUEUE_FULL,
        "queue full",
        "Too many requests wait for this model; ask again a little later.",
        _RETRY_AFTER,
    )


def too_large(size: int, limit: int) -> Refusal:
    """For a request that would not even fit in an empty queue.

    Args:
        size: bytes of its inputs.
        limit: bytes that may wait.
    """
    return Refusal(
        TOO_LARGE,
        "too large",
        f"The inputs have {size} bytes, and at most {limit} may wait for this model; "
        "send a smaller batch.",
    )


def not_taking() -> Refusal:
    """For a request that meets a queue which drains or is closed."""
    return Refusal(
        NOT_READY,
        "draining",
        "The model is being unloaded or the server is shutting down; ask again a little later.",
        _RETRY_AFTER,
    )


def deadline_passed() -> Refusal:
    """For a request that has taken longer than it may."""
    return Refusal(
        DEADLINE_PASSED,
        "deadline passed",
        "The request's time was over before it had its answer; "
        "ask again later, or allow more time if its timeout was short.",
    )


def run_failed() -> Refusal:
    """For a request that the runtime failed on."""
    return Refusal(
        FAULT,
        "run failed",
        "The model failed to run on this request; the server's log says why.",
    )

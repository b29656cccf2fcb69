"""What a client is told when it gets no answer."""

from __future__ import annotations

BAD_REQUEST = 400
UNAUTHORIZED = 401
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
TIMED_OUT_SENDING = 408
TOO_LARGE = 413
UNSUPPORTED_ENCODING = 415
UNPROCESSABLE = 422
QUEUE_FULL = 429
FAULT = 500
NOT_READY = 503
DEADLINE_PASSED = 504


class Refusal(Exception):  # noqa: N818 - it is no error of this program
    """A request that is not answered, and why.

    Args:
        status: of HTTP; gRPC has its own for each.
        reason: a word or two, the same for all of a sort, by which refusals are counted.
        message: for the client: what is wrong and what to do, in a sentence. It holds nothing of
            the inside: no path, no traceback.
        retry_after: seconds after which it makes sense to ask again; None if it does not.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after: int | None = None
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)

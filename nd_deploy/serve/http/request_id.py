"""What names a request in the logs, here and at the client's."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar

# Of the request that is being answered; empty outside of any.
current: ContextVar[str] = ContextVar("nd_deploy_request_id", default="")

# Long enough for a trace context, and nothing that a log or a shell would take for more than text.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id(offered: bytes | None) -> str:
    """A request's id.

    Args:
        offered: the client's X-Request-Id; None if it sent none.

    Returns:
        The client's, if it is short and plain, and otherwise one that is new.
    """
    if offered is not None and _SANE.fullmatch(offered):
        return offered.decode("ascii")
    # It is no secret, and the system's own random numbers cost a call of the system each.
    return f"{random.getrandbits(128):032x}"

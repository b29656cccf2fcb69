"""What the operator learns of a run that failed, since a client does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        model: its name.
        ids: that the clients gave to the requests of the batch; None where there was none.
        retried: whether each of the requests is tried again alone.
        error: what the runtime raised, with its traceback.
    """

    model: str
    ids: Sequence[str | None]
    retried: bool
    error: Exception


# Called in a worker's thread; must not raise.
OnFailure: TypeAlias = Callable[[Failure], None]


def log_failure(failure: Failure) -> None:
    """Write a failure to the log, with its traceback."""
    _LOGGER.error(
        "model %r failed on the requests %r; %s",
        failure.model,
        list(failure.ids),
        "each is tried again alone" if failure.retried else "they are answered with 500",
        exc_info=failure.error,
    )

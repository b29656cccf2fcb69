"""A model that runs on the processor, where a call is over when it returns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import BackendError, NdDeployError
from nd_deploy.profiling.figures import LATENCY
from nd_deploy.profiling.subjects.base import Clock, Samples
from nd_deploy.runtime.base import Receipt

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOST = "host"
"""The key of `Subject.memory` for the processor's memory."""


class HostSubject:
    """A call that computes on the processor.

    Args:
        call: runs the model on the inputs that it is bound to, as a user would.
        named: makes outputs by name of what the call returns.
        receipt: what it runs with.
        clock: of the iterations.
        before: `resident_bytes` before the model was opened.
        during: the context that the calls run in, entered once for many of them.
    """

    def __init__(
        self,
        call: Callable[[], Any],
        named: Callable[[Any], dict[str, NDArray[Any]]],
        receipt: Receipt,
        clock: Clock,
        before: int,
        during: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self._call = call
        self._named = named
        self._receipt = receipt
        self._clock = clock
        self._before = before
        self._during = during
        self._memory: dict[str, int] = {}

    @property
    def receipt(self) -> Receipt:
        """What it runs with."""
        return self._receipt

    @property
    def memory(self) -> Mapping[str, int]:
        """By how many bytes opening and the first run made the process's resident memory grow.

        That is no more than about right where a process holds several models: one may use again
        what another has freed.
        """
        return self._memory

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Run once, and give every output by name.

        Raises:
            BackendError: the runtime failed.
        """
        with self._running():
            returned = self._call()
        if not self._memory:
            self._memory = {HOST: max(0, resident_bytes() - self._before)}
        return self._named(returned)

    def measure(self, iterations: int) -> Samples:
        """Run so many times, and take the latency of each.

        Raises:
            BackendError: the runtime failed.
        """
        import numpy as np

        call, clock = self._call, self._clock
        # Storing to a list is the cheapest there is, and nothing is allocated for it on the way.
        nanoseconds = [0] * iterations
        with self._running():
            for index in range(iterations):
                start = clock()
                call()
                nanoseconds[index] = clock() - start
        return {LATENCY: np.array(nanoseconds, np.float64) / 1e9}

    def close(self) -> None:
        """Let go of the model."""
        del self._call, self._named

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        try:
            with self._during():
                yield
        except NdDeployError:
            raise
        except Exception as error:  # runtimes, and a user's network, raise whatever they like
            raise BackendError(
                f"{self._receipt.runtime} failed while running the model: {error}",
                "check that the shapes given suit every layer of the model",
            ) from error


def resident_bytes() -> int:
    """How much of the computer's memory the process takes: its resident set."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

"""Runs that all happen in one thread, which is where CUDA graphs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from nd_deploy.runtime.base import Receipt, Runner


class OneThreadRunner:
    """A runner with a thread of its own, in which it runs whoever calls.

    ONNX Runtime's CUDA provider keeps what it captures in a context of the thread that captured it
    (PerThreadContext in cuda_execution_provider.cc). So a graph that was captured at warm-up is
    replayed only by that thread, and each other one would capture again at its first request.

    The thread ends when this is no longer referred to.

    Args:
        runner: to run.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._thread = ThreadPoolExecutor(1, "cuda-graph")

    @property
    def receipt(self) -> Receipt:
        """See `Runner.receipt`."""
        return self._runner.receipt

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Runner.run`."""
        return self._thread.submit(self._runner.run, feeds).result()

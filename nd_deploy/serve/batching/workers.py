"""The threads that run a model, one for each of its instances."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial

from nd_deploy.serve.batching.execution import Executor, Finished
from nd_deploy.serve.batching.handover import Handover


def start_workers(
    name: str,
    instances: int,
    handover: Handover,
    executor: Executor,
    deliver: Callable[[Finished], None],
) -> None:
    """Start the threads; they end when the line is closed, each after the batch it is at.

    They are no reason for the process to stay: a server that is to end now does not wait for a run.

    Args:
        name: of the model, for the threads' names.
        instances: of the model.
        handover: whence they take requests.
        executor: that runs them.
        deliver: given what is through, in the loop's thread.
    """
    for instance in range(instances):
        work = partial(_work, instance, handover, executor, deliver)
        threading.Thread(target=work, name=f"model {name} {instance}", daemon=True).start()


def _work(
    instance: int, handover: Handover, executor: Executor, deliver: Callable[[Finished], None]
) -> None:
    while _serve_batch(instance, handover, executor, deliver):
        pass


def _serve_batch(
    instance: int, handover: Handover, executor: Executor, deliver: Callable[[Finished], None]
) -> bool:
    # A function of its own, so that a sleeping worker keeps no arrays of its last batch.
    jobs = handover.take()
    if jobs is None:
        return False
    loop = jobs[0].answer.get_loop()
    for finished in executor.execute(jobs, instance):
        _call(loop, partial(deliver, finished))
    return True


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    # If the loop is closed, whoever waited for an answer has ended with it.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)

"""A request on its way through the queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec
from nd_deploy.serve.refusal import Refusal

Answer: TypeAlias = InferResponse | Refusal


@dataclass(eq=False, slots=True)
class Job:
    """A request, and what the queue has to know about it.

    Attributes:
        request: that was submitted.
        rows: its own batch; 1 where the model's batch is fixed by its shape.
        size: bytes of its inputs.
        shapes: of its inputs without the batch; only requests of equal ones can be joined.
        queued: the clock's time of its arrival.
        deadline: the clock's time from which on it is late.
        answer: set in the loop's thread, once; cancelled if the client goes. A refusal is its
            result and no exception of it, since nobody retrieves that of a cancelled task.
    """

    request: InferRequest
    rows: int
    size: int
    shapes: tuple[tuple[int, ...], ...]
    queued: float
    deadline: float
    answer: asyncio.Future[Answer]

    def is_wanted(self, now: float) -> bool:
        """Whether to run it still: it is neither late nor answered nor cancelled.

        Any thread may ask.
        """
        return now < self.deadline and not self.answer.done()


def new_job(request: InferRequest, spec: ModelSpec, now: float, deadline: float) -> Job:
    """A request that has just arrived, in the loop's thread.

    Args:
        request: whose inputs fit the model.
        spec: of the model.
        now: the clock's time.
        deadline: seconds that a request may take; its own timeout may only lower it.
    """
    inputs = [request.inputs[tensor.name] for tensor in spec.inputs]
    allowed = deadline if request.timeout is None else min(deadline, request.timeout)
    return Job(
        request=request,
        rows=len(inputs[0]) if spec.max_batch else 1,
        size=sum([array.nbytes for array in inputs]),
        shapes=tuple([array.shape[1:] for array in inputs]),
        queued=now,
        deadline=now + allowed,
        answer=asyncio.get_running_loop().create_future(),
    )

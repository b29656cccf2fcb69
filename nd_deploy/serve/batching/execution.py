"""One batch: its requests joined, run, and divided again.

A joined batch that fails is run again request by request, so that one request which the model
cannot bear takes no other with it. Running out of memory is no exception to this, and cannot be
told apart in what runtimes raise anyway: a single request needs less than the batch did. What it
costs is bounded: one more run for each request that is still wanted by then, and none for one that
ran alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nd_deploy.errors import BackendError
from nd_deploy.serve.batching.clock import Clock
from nd_deploy.serve.batching.failures import Failure, OnFailure
from nd_deploy.serve.batching.job import Answer, Job
from nd_deploy.serve.batching.observer import Execution
from nd_deploy.serve.batching.refusals import deadline_passed, run_failed
from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd_deploy.serve.models.queue_protocol import Model

    Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class Finished(NamedTuple):
    """Requests that are through.

    Attributes:
        jobs: of one run.
        answers: one for each.
        execution: what the run took; None if there was none, or it failed.
    """

    jobs: Sequence[Job]
    answers: Sequence[Answer]
    execution: Execution | None = None


class Executor:
    """Runs batches of a model, in the calling thread.

    Args:
        model: to run.
        clock: to time it with.
        on_failure: told of every run that fails.
    """

    def __init__(self, model: Model, clock: Clock, on_failure: OnFailure) -> None:
        self._model = model
        self._clock = clock
        self._on_failure = on_failure

    def execute(self, jobs: Sequence[Job], instance: int) -> Iterator[Finished]:
        """Run some requests, joined if they are several.

        Args:
            jobs: of the same shapes; one, or several of together at most the model's largest batch.
            instance: of the model.

        Yields:
            Each of them once: all together, or one by one if running them together failed.
        """
        if len(jobs) == 1:
            yield self.execute_alone(jobs[0], instance)
            return
        finished = self._try(jobs, instance, retries=True)
        if finished is None:
            yield from self._one_by_one(jobs, instance)
        else:
            yield finished

    def execute_alone(self, job: Job, instance: int) -> Finished:
        """Run one request; see `execute`."""
        finished = self._try([job], instance, retries=False)
        return Finished([job], [run_failed()]) if finished is None else finished

    def _one_by_one(self, jobs: Sequence[Job], instance: int) -> Iterator[Finished]:
        for job in jobs:
            if job.is_wanted(self._clock.now()):
                yield self.execute_alone(job, instance)
            else:
                yield Finished([job], [deadline_passed()])

    def _try(self, jobs: Sequence[Job], instance: int, *, retries: bool) -> Finished | None:
        try:
            return self._run(jobs, instance)
        except Exception as error:  # whatever a runtime raises, the server goes on
            ids = [job.request.id for job in jobs]
            self._on_failure(Failure(self._model.spec.name, ids, retries, error))
            return None

    def _run(self, jobs: Sequence[Job], instance: int) -> Finished:
        if len(jobs) == 1:
            return self._run_alone(jobs[0], instance)
        now, spec = self._clock.now, self._model.spec
        begun = now()
        inputs = join([job.request.inputs for job in jobs])
        joined = now()
        outputs = self._model.run(inputs, instance)
        ran = now()
        rows = [job.rows for job in jobs]
        pairs = zip(jobs, split(outputs, rows), strict=True)
        answers = [_response(spec, job.request, part) for job, part in pairs]
        waits = tuple([begun - job.queued for job in jobs])
        times = (joined - begun, ran - joined, now() - ran)
        return Finished(jobs, answers, Execution(sum(rows), waits, *times))

    def _run_alone(self, job: Job, instance: int) -> Finished:
        now = self._clock.now
        begun = now()
        outputs = self._model.run(job.request.inputs, instance)
        ran = now()
        answer = _response(self._model.spec, job.request, outputs)
        run = Execution(job.rows, (begun - job.queued,), 0.0, ran - begun, now() - ran)
        return Finished([job], [answer], run)


def join(requests: Sequence[Arrays]) -> Arrays:
    """The inputs of several requests as one batch.

    Args:
        requests: the inputs of each, (N, ...) with an N of its own.
    """
    import numpy as np

    return {name: np.concatenate([inputs[name] for inputs in requests]) for name in requests[0]}


def split(outputs: Arrays, rows: Sequence[int]) -> Sequence[Arrays]:
    """Each request's part of the outputs.

    They are views: nothing is copied, and the outputs of a batch stay in memory until the last of
    its requests has been answered.

    Args:
        outputs: of the batch.
        rows: of each request.

    Raises:
        BackendError: an output has not a row for each of the batch.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if array.shape[:1] != (total,):
            raise BackendError(
                f"output {name!r} is {array.shape} for a batch of {total}, so that it cannot be "
                "divided among the requests",
                "convert the network so that the batch is its outputs' first axis",
            )
    return [
        {name: array[start:end] for name, array in outputs.items()}
        for start, end in pairwise(accumulate(rows, initial=0))
    ]


def _response(spec: ModelSpec, request: InferRequest, outputs: Arrays) -> InferResponse:
    wanted = [output.name for output in request.outputs or spec.outputs]
    return InferResponse(spec, request.id, {name: outputs[name] for name in wanted})

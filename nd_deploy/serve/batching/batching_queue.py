"""The queue of a model: what is submitted to it, and what becomes of each request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nd_deploy.runtime.ort.names import CPU
from nd_deploy.serve.batching.clock import Alarm, Clock, SystemClock
from nd_deploy.serve.batching.execution import Executor, Finished
from nd_deploy.serve.batching.failures import OnFailure, log_failure
from nd_deploy.serve.batching.handover import Handover
from nd_deploy.serve.batching.job import Answer, Job, new_job
from nd_deploy.serve.batching.line import Line
from nd_deploy.serve.batching.observer import CANCELLED, NullObserver, Observer
from nd_deploy.serve.batching.refusals import deadline_passed, not_taking
from nd_deploy.serve.batching.short_runs import ShortRuns
from nd_deploy.serve.batching.workers import start_workers
from nd_deploy.serve.exchange import InferRequest, InferResponse
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from nd_deploy.serve.models.queue_protocol import Model


class BatchingQueue:
    """Requests of one model, joined to batches and run by a thread for each of its instances.

    Without a delay, whatever came while the last batch ran becomes the next. With one, a request
    that nothing waits before is held until there are rows for a whole batch, or until the delay has
    passed.

    A request that will run for less time than it takes to hand it to a thread, on a processor and
    while nothing else runs or waits, runs in the loop's thread at once.

    Every request has one answer: its outputs, or a refusal. The deadline counts until the answer:
    a request is refused when it has passed even if its run is under way, which then goes on for
    nobody; but outputs that are there are given, however late. All methods are called in the loop's
    thread, and all that is not said to be otherwise happens there.

    Args:
        model: that has been loaded, and may be run.
        settings: of the server.
        observer: told of what happens.
        on_failure: told of every run that fails.
        clock: that deadlines and delays go by.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        observer: Observer | None = None,
        on_failure: OnFailure = log_failure,
        clock: Clock | None = None,
    ) -> None:
        spec = model.spec
        self._spec = spec
        self._deadline = settings.deadline
        self._delay = settings.batch_delay
        self._observer = observer or NullObserver()
        self._clock = clock or SystemClock()
        line = Line(spec.max_batch if spec.batching else 0)
        self._handover = Handover(
            line, settings.queue_limit, settings.queue_bytes, self._clock, self._observer
        )
        self._unanswered: set[Job] = set()
        self._next_deadline = Alarm(self._clock, self._refuse_late)
        self._end_of_delay = Alarm(self._clock, self._handover.release)
        self._draining = False
        self._drained = asyncio.Event()
        self._executor = Executor(model, self._clock, on_failure)
        # On a GPU a thread of its own may be needed, and a delay is there to join requests.
        self._may_run_here = spec.providers == (CPU,) and not self._delay
        self._short_runs = ShortRuns()
        start_workers(spec.name, model.instances, self._handover, self._executor, self._deliver)

    async def submit(self, request: InferRequest) -> InferResponse:
        """Run a request, joined with others where the model allows.

        Args:
            request: whose inputs fit the model.

        Returns:
            The outputs that are wanted. They may be views of a whole batch's outputs, which are
            not to be written to and stay in memory as long as one of them does.

        Raises:
            Refusal: 413, the inputs are larger than all that may wait; 429, the queue is full; 503,
                it is draining or closed; 504, the deadline has passed; 500, the runtime failed.
            asyncio.CancelledError: the client has gone; nothing is run for it if it still waits.
        """
        answer = await self._answer(request)
        if not isinstance(answer, Refusal):
            return answer
        self._observer.refused(answer.reason)
        try:
            raise answer
        finally:
            # Or else the refusal, through its traceback, keeps itself and the inputs in memory.
            del answer

    async def drain(self) -> None:
        """Take nothing more, and wait until nothing of it is left.

        Afterwards every request that was in the queue has its answer, and no thread runs the model,
        not even for a request that was refused at its deadline.
        """
        self._draining = True
        self._handover.release()
        self._check_drained()
        await self._drained.wait()

    def close(self) -> None:
        """Refuse what still waits with 503, and end the threads.

        A batch that runs is finished and answered; its thread ends then. Nothing waits for that
        here; `drain` does.
        """
        self._draining = True
        self._end_of_delay.cancel()
        for job in self._handover.close():
            _settle(job, not_taking())
        self._watch_deadlines()

    async def _answer(self, request: InferRequest) -> Answer:
        if self._draining:
            return not_taking()
        job = new_job(request, self._spec, self._clock.now(), self._deadline)
        refusal = self._handover.refusal(job)
        if refusal is not None:
            return refusal
        if self._may_run_here and self._short_runs.expect(job) and self._handover.is_idle:
            return self._run_here(job)
        return await self._handed_over(job)

    def _run_here(self, job: Job) -> Answer:
        if not job.is_wanted(self._clock.now()):
            return deadline_passed()
        # No worker can take anything meanwhile: all that it could take is put there by this thread.
        finished = self._executor.execute_alone(job, instance=0)
        if finished.execution is not None:
            self._short_runs.note_here(job, finished.execution.running)
            self._observer.executed(finished.execution)
        return finished.answers[0]

    async def _handed_over(self, job: Job) -> Answer:
        if self._handover.put(job, hold=self._delay > 0):
            self._end_of_delay.cancel()
            self._end_of_delay.ask(job.queued + self._delay)
        self._unanswered.add(job)
        self._next_deadline.ask(job.deadline)
        try:
            return await job.answer
        except asyncio.CancelledError:
            self._handover.remove(job)
            self._observer.refused(CANCELLED)
            raise
        finally:
            self._unanswered.discard(job)
            self._check_drained()

    def _deliver(self, finished: Finished) -> None:
        self._handover.finished(len(finished.jobs))
        run = finished.execution
        if run is not None:
            self._observer.executed(run)
            self._short_runs.note_handed_over(run.rows, finished.jobs[0].shapes, run.running)
        for job, answer in zip(finished.jobs, finished.answers, strict=True):
            _settle(job, answer)
        self._check_drained()

    def _refuse_late(self) -> None:
        now = self._clock.now()
        for job in self._unanswered:
            if job.deadline <= now:
                self._handover.remove(job)
                _settle(job, deadline_passed())
        self._watch_deadlines()

    def _watch_deadlines(self) -> None:
        self._next_deadline.cancel()
        pending = [job.deadline for job in self._unanswered if not job.answer.done()]
        if pending:
            self._next_deadline.ask(min(pending))

    def _check_drained(self) -> None:
        if self._draining and not self._unanswered and self._handover.is_idle:
            self._drained.set()


def _settle(job: Job, answer: Answer) -> None:
    if not job.answer.done():
        job.answer.set_result(answer)

"""A model, a clock and an observer that tests of the queue have in hand."""

import asyncio
import gc
import threading
from queue import SimpleQueue

import numpy as np

from nd_deploy.serve.batching.batching_queue import BatchingQueue
from nd_deploy.serve.exchange import InferRequest, ModelSpec, TensorSpec
from nd_deploy.serve.settings import Settings

# Nothing takes as long, unless it hangs.
PATIENCE = 20


def spec(largest=8, batching=True):
    return ModelSpec(
        name="stand-in",
        version="1",
        inputs=(TensorSpec("x", "FP32", (-1, -1)),),
        outputs=(TensorSpec("y", "FP32", (-1, -1)), TensorSpec("first", "FP32", (-1,))),
        max_batch=largest,
        batching=batching,
    )


def request(*rows, width=2, **others):
    """A request whose rows hold their own number `width` times."""
    x = np.repeat(np.array(rows, np.float32)[:, None], width, axis=1)
    return InferRequest("stand-in", None, others.pop("id", None), {"x": x}, **others)


def is_answer(response, *rows, width=2):
    """Whether a response is what the stand-in has for these rows."""
    y, first = response.outputs["y"], response.outputs["first"]
    return y.tolist() == [[2 * row + 1] * width for row in rows] and first.tolist() == list(rows)


class StandIn:
    """Computes 2x + 1, row by row, each run when the test lets it."""

    def __init__(self, model_spec=None, instances=1):
        self.spec = model_spec or spec()
        self.instances = instances
        self.batches = []
        self.inputs = []
        self.threads = [set() for _ in range(instances)]
        self.started = SimpleQueue()
        self._verdicts = [SimpleQueue() for _ in range(instances)]

    def run(self, inputs, instance):
        x = inputs["x"]
        self.batches.append([int(row) for row in x[:, 0]])
        self.inputs.append(x)
        self.threads[instance].add(threading.get_ident())
        self.started.put(instance)
        self._obey(instance)
        return self.compute(x)

    def _obey(self, instance):
        error = self._verdicts[instance].get(timeout=PATIENCE)
        if error is not None:
            try:
                raise error
            finally:
                # Or else it keeps itself in memory, and the inputs with it.
                del error

    def compute(self, x):
        return {"y": 2 * x + 1, "first": x[:, 0].copy()}

    def let(self, *errors, instance=0):
        """Let runs end: one for each of the errors, which None is none of."""
        for error in errors or (None,):
            self._verdicts[instance].put(error)

    async def starts(self, count=1):
        """Wait until runs have started, and say of which instances."""
        return [await asyncio.to_thread(self.started.get, True, PATIENCE) for _ in range(count)]


class FreeStandIn(StandIn):
    """Never waits for the test."""

    def _obey(self, instance):
        pass


class TestedClock:
    """Time that passes when the test says so."""

    __test__ = False

    def __init__(self):
        self.time = 1000.0
        self.timers = []

    def now(self):
        return self.time

    def call_at(self, when, callback):
        timer = _Timer(when, callback)
        self.timers.append(timer)
        return timer

    def pass_unnoticed(self, seconds):
        """Time passes, and no timer is called yet."""
        self.time += seconds

    def advance(self, seconds=0.0):
        """Time passes, and what is due is called."""
        self.time += seconds
        while due := [timer for timer in self.pending() if timer.when <= self.time]:
            first = min(due, key=lambda timer: timer.when)
            first.cancel()
            first.callback()

    def pending(self):
        return [timer for timer in self.timers if not timer.cancelled]


class _Timer:
    def __init__(self, when, callback):
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class Notes:
    """An observer that writes everything down."""

    def __init__(self):
        self._lock = threading.Lock()
        self.waits = 0
        self.executions = []
        self.reasons = []

    def waiting(self, change):
        with self._lock:
            self.waits += change

    def executed(self, execution):
        self.executions.append(execution)

    def refused(self, reason):
        self.reasons.append(reason)


class Bench:
    """A queue with stand-ins all around it."""

    def __init__(self, model=None, **limits):
        self.model = model or StandIn()
        self.clock = TestedClock()
        self.notes = Notes()
        self.failures = []
        self.queue = BatchingQueue(
            self.model, Settings(**limits), self.notes, self.failures.append, self.clock
        )

    async def submit(self, *requests):
        """Submit requests, each in a task, which all are in the queue afterwards."""
        tasks = [asyncio.create_task(self.queue.submit(each)) for each in requests]
        await asyncio.sleep(0)
        return tasks

    async def busy(self, *requests, count=1):
        """Submit requests, and wait until so many runs have started."""
        tasks = await self.submit(*requests)
        await self.model.starts(count)
        return tasks


def play(scenario):
    """Run a scenario in a loop of its own, and see that it leaves nothing behind.

    That is no thread of a queue and no task; nothing the loop complains of, such as a destroyed
    task or an exception that nobody retrieved.
    """
    complaints = []
    before = set(threading.enumerate())

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        await scenario()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect(1)

    asyncio.run(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert complaints == []


async def refusal(task):
    """What a task is refused with."""
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    return outcome.status, outcome.reason

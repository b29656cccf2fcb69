"""Whatever happens to requests and in whatever order: each has one answer, and it is its own."""

import asyncio
import gc
import random
import threading
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, count

from batching_stand_ins import PATIENCE, Bench, FreeStandIn, StandIn, is_answer, play, request, spec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from nd_deploy.serve.batching.batching_queue import BatchingQueue
from nd_deploy.serve.exchange import InferResponse
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

LARGEST = 4
COUNT_LIMIT = 4
SIZE_LIMIT = 60
DEADLINE = 10
CANCELLED = "cancelled"


@dataclass(eq=False)
class Asked:
    """A request, and what is to become of it as far as that is known."""

    rows: list
    width: int
    deadline: float
    task: asyncio.Task
    outcome: object = None

    @property
    def size(self):
        return len(self.rows) * self.width * 4


@dataclass(eq=False)
class Run:
    """What an instance is expected to be at, and what of a failed batch it has to retry then."""

    place: int
    asked: list
    retries: list


class Schedules(RuleBasedStateMachine):
    """The queue, step by step beside a description of what it is to do."""

    @initialize(instances=st.integers(1, 2))
    def open(self, instances):
        self.loop = asyncio.new_event_loop()
        self.complaints = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.before = set(threading.enumerate())
        self.bench = Bench(
            StandIn(spec(LARGEST), instances),
            deadline=DEADLINE,
            queue_limit=COUNT_LIMIT,
            queue_bytes=SIZE_LIMIT,
        )
        self.numbers = count()
        self.waiting = []
        self.asked = []
        # In the order of their starts, since it is chance which of two idle instances starts one.
        self.runs = []

    @rule(
        rows=st.integers(1, LARGEST),
        width=st.integers(1, 2),
        timeout=st.none() | st.integers(1, 5),
    )
    def submit(self, rows, width, timeout):
        numbers = [next(self.numbers) for _ in range(rows)]
        wanted = request(*numbers, width=width, timeout=timeout)
        task = self.loop.create_task(self.bench.queue.submit(wanted))
        deadline = self.bench.clock.now() + (timeout or DEADLINE)
        asked = Asked(numbers, width, deadline, task)
        self.asked.append(asked)
        size = asked.size + sum(each.size for each in self.waiting)
        full = len(self.waiting) >= COUNT_LIMIT or size > SIZE_LIMIT
        self.loop.run_until_complete(asyncio.sleep(0))
        if full:
            self.ends(429, asked)
            return
        self.waiting.append(asked)
        if len(self.runs) < self.bench.model.instances:
            self.starts([])

    @precondition(lambda self: self.open_requests())
    @rule(data=st.data())
    def cancel(self, data):
        gone = data.draw(st.sampled_from(self.open_requests()))
        gone.task.cancel()
        self.ends(CANCELLED, gone)

    @rule(seconds=st.integers(1, 4))
    def advance(self, seconds):
        self.bench.clock.advance(seconds)
        now = self.bench.clock.now()
        self.ends(504, *(each for each in self.open_requests() if each.deadline <= now))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), fails=st.booleans())
    def finish(self, data, fails):
        which = data.draw(st.integers(0, len(self.runs) - 1))
        self.finishes(self.runs[which], RuntimeError("no") if fails else None)

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        while self.runs:
            self.finishes(self.runs[0], None)
        self.loop.run_until_complete(asyncio.wait_for(self.bench.queue.drain(), PATIENCE))
        self.bench.queue.close()
        assert self.open_requests() == self.waiting == []
        assert self.bench.notes.waits == 0
        assert self.bench.clock.pending() == []
        refused = [each.outcome for each in self.asked if each.outcome != "answered"]
        assert len(self.bench.notes.reasons) == len(refused)
        self.leaves_nothing()

    def leaves_nothing(self):
        assert asyncio.all_tasks(self.loop) == set()
        gc.collect(1)
        assert self.complaints == []
        self.loop.close()
        for thread in set(threading.enumerate()) - self.before:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def open_requests(self):
        return [each for each in self.asked if each.outcome is None]

    def finishes(self, run, error):
        self.runs.remove(run)
        self.bench.model.let(error, instance=run.place)
        ended = [each for each in run.asked if each.outcome is None]
        retries = run.retries
        if error is None:
            self.ends("answered", *ended)
        elif len(run.asked) == 1:
            self.ends(500, *ended)
        else:
            retries = run.asked
        retries = [each for each in retries if each.outcome is None]
        if retries or self.waiting:
            assert self.starts(retries) == run.place

    def starts(self, retries):
        if retries:
            asked, *retries = [retries[0]], *retries[1:]
        else:
            alike = [each for each in self.waiting if each.width == self.waiting[0].width]
            rows = accumulate(len(each.rows) for each in alike)
            asked = alike[: sum(total <= LARGEST for total in rows)]
            self.waiting = [each for each in self.waiting if each not in asked]
        place = self.bench.model.started.get(timeout=PATIENCE)
        self.runs.append(Run(place, asked, retries))
        assert self.bench.model.batches[-1] == [row for each in asked for row in each.rows]
        return place

    def ends(self, outcome, *ended):
        tasks = [each.task for each in ended]
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE))
        for each in ended:
            each.outcome = outcome
            assert self.outcome(each) == outcome
        self.waiting = [each for each in self.waiting if each not in ended]
        self.loop.run_until_complete(asyncio.sleep(0))
        assert not any(each.task.done() for each in self.open_requests())

    def outcome(self, asked):
        if asked.task.cancelled():
            return CANCELLED
        error = asked.task.exception()
        if error is not None:
            return error.status
        assert is_answer(asked.task.result(), *asked.rows, width=asked.width)
        return "answered"


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True
)


class Moody(FreeStandIn):
    """Fails now and then, and always on rows that divide by thirteen."""

    def __init__(self, chance, instances):
        super().__init__(spec(8), instances)
        self._chance = chance

    def compute(self, x):
        if self._chance.random() < 0.05 or (x[:, 0] % 13 == 0).any():
            raise RuntimeError("no")
        return super().compute(x)


def test_no_request_is_lost_or_mixed_up_while_all_goes_as_fast_as_it_can():
    chance = random.Random(6)
    outcomes = Counter()

    async def client(queue, number):
        rows = [1000 * number + row for row in range(chance.randint(1, 3))]
        asked = request(*rows, width=chance.randint(1, 3), timeout=chance.choice([None, 1e-4]))
        await asyncio.sleep(chance.random() / 10)
        task = asyncio.create_task(queue.submit(asked))
        if chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.random() / 1e3, task.cancel)
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, InferResponse):
            assert is_answer(outcome, *rows, width=asked.inputs["x"].shape[1])
        outcomes[outcome.status if isinstance(outcome, Refusal) else type(outcome)] += 1

    async def scenario():
        delay = {"batch_delay": 0.001}
        for limits in ({}, delay, {"queue_limit": 3}):
            failures = []
            queue = BatchingQueue(Moody(chance, 3), Settings(**limits), on_failure=failures.append)
            await asyncio.gather(*(client(queue, number) for number in range(400)))
            await queue.drain()
            queue.close()

    play(scenario)
    assert outcomes.total() == 1200
    assert set(outcomes) == {InferResponse, asyncio.CancelledError, 500, 504, 429}

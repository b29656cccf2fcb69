"""Requests that run in the loop's own thread, and those that do not."""

import asyncio
import threading
from dataclasses import replace

import pytest
from batching_stand_ins import (
    PATIENCE,
    Bench,
    FreeStandIn,
    StandIn,
    is_answer,
    play,
    refusal,
    request,
    spec,
)

from nd_deploy.serve.batching.short_runs import LIMIT, WORTH_TRYING, ShortRuns

CPU = "CPUExecutionProvider"
ON_CPU = replace(spec(), providers=(CPU,))
QUICK, SLOW, VERY_SLOW = LIMIT / 10, 3 * LIMIT, 2 * WORTH_TRYING


class Timed(FreeStandIn):
    """Takes as long as it is told to, by the test's clock."""

    def __init__(self, model_spec=ON_CPU, takes=QUICK, **others):
        super().__init__(model_spec, **others)
        self.takes = takes
        self.clock = None
        self.ran_in = []

    def _obey(self, instance):
        self.clock.pass_unnoticed(self.takes)
        self.ran_in.append(threading.current_thread())


class ShortBench(Bench):
    """A queue whose runs are noted with their threads."""

    def __init__(self, model=None, **limits):
        super().__init__(model or Timed(), **limits)
        self.model.clock = self.clock

    async def ask(self, *asked):
        """Whether each was run in the loop's thread, one after the other."""
        before = len(self.model.ran_in)
        for each in asked:
            response = await self.queue.submit(each)
            x = each.inputs["x"]
            assert is_answer(response, *x[:, 0].tolist(), width=x.shape[1])
        return [thread is threading.current_thread() for thread in self.model.ran_in[before:]]


def test_what_is_known_to_be_short_runs_at_once_in_the_loops_thread():
    async def scenario():
        bench = ShortBench()
        assert await bench.ask(request(1), request(2), request(3)) == [False, True, True]
        assert [run.rows for run in bench.notes.executions] == [1, 1, 1]
        assert bench.notes.executions[1].running == pytest.approx(QUICK, rel=1e-3)
        assert bench.notes.executions[1].waits == (0.0,)
        assert bench.notes.waits == 0
        bench.queue.close()

    play(scenario)


def test_other_shapes_and_batches_are_found_out_for_themselves():
    async def scenario():
        bench = ShortBench()
        asked = [request(1), request(1, 2), request(1, width=3)]
        assert await bench.ask(*asked, *asked) == [False] * 3 + [True] * 3
        bench.queue.close()

    play(scenario)


def test_a_run_that_looked_long_in_a_worker_is_tried_and_then_known():
    async def scenario():
        bench = ShortBench()
        bench.model.takes = SLOW
        assert await bench.ask(request(1)) == [False]
        bench.model.takes = QUICK
        assert await bench.ask(request(1), request(1)) == [True, True]
        bench.queue.close()

    play(scenario)


@pytest.mark.parametrize(("takes", "tries"), [(SLOW, 4), (VERY_SLOW, 0)])
def test_what_is_long_goes_to_the_worker_after_a_few_tries_at_most(takes, tries):
    async def scenario():
        bench = ShortBench(Timed(takes=takes))
        found = await bench.ask(*[request(1)] * 50)
        assert sum(found) <= tries
        assert not any(found[10:])
        bench.queue.close()

    play(scenario)


def test_one_interrupted_run_does_not_make_a_model_long():
    async def scenario():
        bench = ShortBench()
        await bench.ask(*[request(1)] * 5)
        bench.model.takes = 1.0
        assert await bench.ask(request(1)) == [True]
        bench.model.takes = QUICK
        assert await bench.ask(request(1), request(1)) == [True, True]
        bench.queue.close()

    play(scenario)


def test_a_machine_that_was_busy_for_a_while_is_tried_again():
    async def scenario():
        bench = ShortBench()
        await bench.ask(request(1), request(1))
        bench.model.takes = SLOW
        assert (await bench.ask(*[request(1)] * 20))[-1] is False
        bench.model.takes = QUICK
        assert (await bench.ask(*[request(1)] * 1000))[-1] is True
        bench.queue.close()

    play(scenario)


@pytest.mark.parametrize(
    ("model_spec", "limits"),
    [
        (spec(), {}),
        (replace(spec(), providers=("CUDAExecutionProvider", CPU)), {}),
        (ON_CPU, {"batch_delay": 0.001}),
    ],
    ids=["provider unknown", "gpu", "delay"],
)
def test_runs_stay_with_the_workers(model_spec, limits):
    async def scenario():
        bench = ShortBench(Timed(model_spec), **limits)
        for number in range(5):
            (task,) = await bench.submit(request(number))
            bench.clock.advance(0.001)
            assert is_answer(await task, number)
        assert threading.current_thread() not in bench.model.ran_in
        bench.queue.close()

    play(scenario)


def test_while_something_runs_a_short_one_waits_its_turn():
    async def scenario():
        bench = Bench(StandIn(ON_CPU))
        bench.model.let()
        assert is_answer(await bench.queue.submit(request(1)), 1)
        # Another shape is at work; the short one may not use the same session beside it.
        (long,) = await bench.submit(request(7, width=3))
        await bench.model.starts(2)
        (short,) = await bench.submit(request(2))
        await asyncio.sleep(0.01)
        assert bench.model.batches == [[1], [7]]
        bench.model.let(None, None)
        assert is_answer(await long, 7, width=3)
        assert is_answer(await short, 2)
        bench.queue.close()

    play(scenario)


def test_a_run_that_fails_here_is_refused_and_told():
    async def scenario():
        bench = ShortBench()
        await bench.ask(request(1))
        bench.model.compute = lambda x: 1 / 0
        (task,) = await bench.submit(request(2))
        assert await refusal(task) == (500, "run failed")
        assert [type(failure.error) for failure in bench.failures] == [ZeroDivisionError]
        assert bench.model.ran_in[-1] is threading.current_thread()
        bench.queue.close()

    play(scenario)


def test_deadlines_limits_and_the_end_hold_for_short_runs_too():
    async def scenario():
        bench = ShortBench(queue_bytes=100)
        await bench.ask(*[request(1)] * 2)
        await bench.ask(*[request(*range(8))] * 2)
        (large,) = await bench.submit(request(*range(8), width=4))
        assert (await refusal(large))[0] == 413
        clock = bench.clock.now
        bench.clock.now = lambda: bench.clock.pass_unnoticed(1e-3) or clock()
        (late,) = await bench.submit(request(1, timeout=1e-6))
        assert (await refusal(late))[0] == 504
        bench.clock.now = clock
        runs = len(bench.model.ran_in)
        await asyncio.wait_for(bench.queue.drain(), PATIENCE)
        (after,) = await bench.submit(request(1))
        assert (await refusal(after))[0] == 503
        assert len(bench.model.ran_in) == runs
        bench.queue.close()

    play(scenario)


def test_shapes_without_number_take_no_memory_without_end():
    known = ShortRuns()
    for size in range(10_000):
        known.note_handed_over(1, ((size,),), QUICK)
    assert len(known._times) <= 64

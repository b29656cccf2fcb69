"""How a queue ends, and what it tells its observer until then."""

import asyncio
import threading

import pytest
from batching_stand_ins import (
    PATIENCE,
    Bench,
    StandIn,
    is_answer,
    play,
    refusal,
    request,
)

from nd_deploy.serve.batching.batching_queue import BatchingQueue
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings


class TestDrain:
    def test_it_takes_nothing_more_and_finishes_what_waits_and_runs(self):
        async def scenario():
            bench = Bench(StandIn())
            tasks = await bench.busy(request(0))
            tasks += await bench.submit(request(1))
            drain = asyncio.create_task(bench.queue.drain())
            await asyncio.sleep(0)
            (refused,) = await bench.submit(request(2))
            with pytest.raises(Refusal, match="unloaded or the server is shutting down") as caught:
                await refused
            assert (caught.value.status, caught.value.reason) == (503, "draining")
            bench.model.let()
            await bench.model.starts(1)
            assert not drain.done()
            bench.model.let()
            await drain
            assert all(task.done() for task in tasks)
            assert [is_answer(task.result(), row) for row, task in enumerate(tasks)] == [True, True]
            bench.queue.close()

        play(scenario)

    def test_it_is_over_at_once_where_there_is_nothing(self):
        async def scenario():
            bench = Bench()
            await bench.queue.drain()
            await bench.queue.drain()
            bench.queue.close()

        play(scenario)

    def test_it_waits_for_a_run_that_nobody_waits_for_any_more(self):
        async def scenario():
            bench = Bench()
            late, gone = await bench.busy(request(0, timeout=1.0)) + await bench.submit(request(1))
            bench.clock.advance(1.0)
            gone.cancel()
            assert await refusal(late) == (504, "deadline passed")
            drain = asyncio.create_task(bench.queue.drain())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not drain.done()
            bench.model.let()
            await drain
            assert bench.model.batches == [[0]]
            bench.queue.close()

        play(scenario)

    def test_whoever_drains_may_lose_patience_and_close(self):
        async def scenario():
            bench = Bench()
            (running,) = await bench.busy(request(0))
            (waiting,) = await bench.submit(request(1))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(bench.queue.drain(), 0)
            bench.queue.close()
            assert await refusal(waiting) == (503, "draining")
            bench.model.let()
            assert is_answer(await running, 0)

        play(scenario)


class TestClose:
    def test_what_waits_is_refused_and_what_runs_is_answered(self):
        async def scenario():
            bench = Bench()
            (running,) = await bench.busy(request(0))
            waiting = await bench.submit(request(1), request(2))
            bench.queue.close()
            assert [await refusal(task) for task in waiting] == [(503, "draining")] * 2
            (refused,) = await bench.submit(request(3))
            assert await refusal(refused) == (503, "draining")
            assert not running.done()
            bench.model.let()
            assert is_answer(await running, 0)
            assert bench.model.batches == [[0]]
            assert bench.notes.waits == 0
            await bench.queue.drain()

        play(scenario)

    def test_what_runs_still_has_its_deadline(self):
        async def scenario():
            bench = Bench(deadline=3.0)
            (running,) = await bench.busy(request(0))
            bench.queue.close()
            bench.clock.advance(3.0)
            assert await refusal(running) == (504, "deadline passed")
            bench.model.let()

        play(scenario)

    def test_its_threads_sleep_until_then_and_end_then(self):
        async def scenario():
            bench = Bench(StandIn(instances=3))
            workers = [each for each in threading.enumerate() if "stand-in" in each.name]
            assert len(workers) == 3
            bench.queue.close()
            bench.queue.close()
            for worker in workers:
                worker.join(PATIENCE)
                assert not worker.is_alive()

        play(scenario)

    def test_a_run_that_outlives_the_loop_ends_its_thread_quietly(self):
        model = StandIn()
        before = set(threading.enumerate())

        async def scenario():
            queue = BatchingQueue(model, Settings())
            task = asyncio.create_task(queue.submit(request(0)))
            await model.starts()
            queue.close()
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(scenario())
        (worker,) = set(threading.enumerate()) - before
        model.let()
        # An exception in the thread would fail this test.
        worker.join(PATIENCE)
        assert not worker.is_alive()


def test_an_observer_learns_how_long_each_part_took_and_how_many_wait():
    class Slow(StandIn):
        def run(self, inputs, instance):
            outputs = super().run(inputs, instance)
            bench.clock.pass_unnoticed(2.0)
            return outputs

    async def scenario():
        nonlocal bench
        bench = Bench(Slow())
        tasks = await bench.busy(request(0))
        assert bench.notes.waits == 0
        tasks += await bench.submit(request(1, 2))
        bench.clock.pass_unnoticed(0.5)
        tasks += await bench.submit(request(3))
        assert bench.notes.waits == 2
        bench.model.let(None, None)
        await asyncio.gather(*tasks)
        assert bench.notes.waits == 0
        first, second = bench.notes.executions
        assert (first.rows, first.waits, first.running) == (1, (0.0,), 2.5)
        assert (second.rows, second.waits, second.running) == (3, (2.5, 2.0), 2.0)
        assert (second.joining, second.splitting) == (0.0, 0.0)
        bench.queue.close()

    bench = None
    play(scenario)

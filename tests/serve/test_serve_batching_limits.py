"""What the queue refuses for want of room or time, and what it never runs."""

import asyncio
import gc
import weakref

import pytest
from batching_stand_ins import Bench, is_answer, play, refusal, request

from nd_deploy.serve.refusal import Refusal

# Of a request with one row of two float32.
ROW = 8


class TestRoom:
    def test_as_many_requests_wait_as_may_and_not_one_more(self):
        async def scenario():
            bench = Bench(queue_limit=3)
            tasks = await bench.busy(request(0))
            tasks += await bench.submit(*(request(row) for row in (1, 2, 3)))
            (refused,) = await bench.submit(request(4))
            with pytest.raises(Refusal, match="Too many requests") as caught:
                await refused
            assert (caught.value.status, caught.value.retry_after) == (429, 1)
            assert bench.notes.reasons == ["queue full"]
            bench.model.let(None, None)
            assert all(
                is_answer(each, row) for row, each in enumerate(await asyncio.gather(*tasks))
            )
            bench.queue.close()

        play(scenario)

    def test_as_many_bytes_wait_as_may_and_not_one_more(self):
        async def scenario():
            bench = Bench(queue_bytes=5 * ROW)
            tasks = await bench.busy(request(0, 0, 0, 0))
            tasks += await bench.submit(request(1, 2, 3))
            (refused,) = await bench.submit(request(4, 5, 6))
            tasks += await bench.submit(request(7, 8))
            assert await refusal(refused) == (429, "queue full")
            bench.model.let(None, None)
            await asyncio.gather(*tasks)
            assert bench.model.batches[1] == [1, 2, 3, 7, 8]
            bench.queue.close()

        play(scenario)

    def test_a_request_larger_than_all_that_may_wait_is_not_told_to_come_again(self):
        async def scenario():
            bench = Bench(queue_bytes=2 * ROW)
            (refused,) = await bench.submit(request(1, 2, 3))
            with pytest.raises(Refusal, match="24 bytes, and at most 16") as caught:
                await refused
            assert (caught.value.status, caught.value.retry_after) == (413, None)
            bench.queue.close()

        play(scenario)

    @pytest.mark.parametrize("limits", [{"queue_limit": 2}, {"queue_bytes": 2 * ROW}])
    def test_who_is_cancelled_or_late_leaves_room(self, limits):
        async def scenario():
            bench = Bench(**limits)
            first = await bench.busy(request(0))
            gone = await bench.submit(request(1), request(2, timeout=1.0))
            gone[0].cancel()
            bench.clock.advance(1.0)
            await asyncio.gather(*gone, return_exceptions=True)
            assert bench.notes.waits == 0
            tasks = await bench.submit(request(3), request(4))
            assert bench.notes.waits == 2
            bench.model.let(None, None)
            await asyncio.gather(*first, *tasks)
            assert bench.model.batches == [[0], [3, 4]]
            bench.queue.close()

        play(scenario)


class TestDeadline:
    def test_who_waits_too_long_is_refused_then_and_not_run(self):
        async def scenario():
            bench = Bench(deadline=3.0)
            tasks = await bench.busy(request(0))
            bench.clock.advance(1.0)
            (late,) = await bench.submit(request(1))
            bench.clock.advance(1.9)
            tasks += await bench.submit(request(2))
            bench.clock.advance(0.1)
            assert await refusal(tasks.pop(0)) == (504, "deadline passed")
            assert not late.done()
            bench.clock.advance(1.0)
            assert await refusal(late) == (504, "deadline passed")
            bench.model.let(None, None)
            assert is_answer(await tasks[0], 2)
            assert bench.model.batches == [[0], [2]]
            bench.queue.close()

        play(scenario)

    @pytest.mark.parametrize(("timeout", "allowed"), [(None, 3.0), (1.0, 1.0), (50.0, 3.0)])
    def test_a_client_can_allow_less_time_but_no_more(self, timeout, allowed):
        async def scenario():
            bench = Bench(deadline=3.0)
            (task,) = await bench.busy(request(1, timeout=timeout))
            bench.clock.advance(allowed - 0.01)
            assert not task.done()
            bench.clock.advance(0.01)
            assert await refusal(task) == (504, "deadline passed")
            bench.model.let()
            await bench.queue.drain()
            bench.queue.close()

        play(scenario)

    def test_a_client_with_a_shorter_time_than_those_before_it_is_refused_before_them(self):
        async def scenario():
            bench = Bench()
            tasks = await bench.busy(request(0, timeout=9.0))
            hasty = await bench.submit(request(1, timeout=8.0), request(2, timeout=2.0))
            bench.clock.advance(2.0)
            assert await refusal(hasty[1]) == (504, "deadline passed")
            bench.clock.advance(6.0)
            assert await refusal(hasty[0]) == (504, "deadline passed")
            bench.model.let()
            assert is_answer(await tasks[0], 0)
            bench.queue.close()

        play(scenario)

    def test_what_is_late_is_not_run_even_if_the_loop_has_had_no_time_to_say_so(self):
        async def scenario():
            bench = Bench(deadline=3.0)
            tasks = await bench.busy(request(0))
            (late,) = await bench.submit(request(1))
            bench.clock.pass_unnoticed(3.0)
            tasks += await bench.submit(request(2))
            bench.model.let(None, None)
            responses = await asyncio.gather(*tasks)
            # The first had its outputs before anybody noticed how late they were.
            assert is_answer(responses[0], 0)
            assert bench.model.batches == [[0], [2]]
            assert not late.done()
            bench.clock.advance()
            assert await refusal(late) == (504, "deadline passed")
            bench.queue.close()

        play(scenario)

    def test_no_time_at_all_is_too_little(self):
        async def scenario():
            bench = Bench()
            (task,) = await bench.submit(request(1, timeout=0.0))
            bench.clock.advance()
            assert await refusal(task) == (504, "deadline passed")
            assert bench.model.batches == []
            bench.queue.close()

        play(scenario)

    def test_there_is_one_timer_however_many_wait_and_none_when_all_is_done(self):
        async def scenario():
            bench = Bench()
            tasks = await bench.busy(request(0))
            tasks += await bench.submit(*(request(row) for row in range(1, 8)))
            assert len(bench.clock.pending()) == 1
            bench.model.let(None, None)
            await bench.queue.drain()
            bench.queue.close()
            assert bench.clock.pending() == []
            await asyncio.gather(*tasks)

        play(scenario)


class TestCancellation:
    def test_who_goes_while_waiting_is_not_run(self):
        async def scenario():
            bench = Bench()
            tasks = await bench.busy(request(0))
            (gone,) = await bench.submit(request(1))
            tasks += await bench.submit(request(2))
            gone.cancel()
            # The worker comes before the task has had its turn.
            bench.model.let(None, None)
            await asyncio.gather(*tasks)
            assert gone.cancelled()
            assert bench.model.batches == [[0], [2]]
            assert bench.notes.reasons == ["cancelled"]
            bench.queue.close()

        play(scenario)

    def test_who_goes_during_the_run_takes_nothing_from_the_others_of_the_batch(self):
        async def scenario():
            bench = Bench()
            tasks = await bench.busy(request(0))
            gone, *others = await bench.submit(request(1), request(2))
            bench.model.let()
            await bench.model.starts()
            gone.cancel()
            bench.model.let()
            responses = await asyncio.gather(*tasks, *others)
            assert gone.cancelled()
            assert is_answer(responses[1], 2)
            bench.queue.close()

        play(scenario)

    def test_who_goes_in_the_moment_of_its_refusal_leaves_no_exception_behind(self):
        async def scenario():
            bench = Bench()
            (task,) = await bench.busy(request(0, timeout=1.0))
            bench.clock.advance(1.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
            bench.model.let()
            await bench.queue.drain()
            bench.queue.close()

        play(scenario)


@pytest.mark.parametrize("end", ["answered", "late", "cancelled", "failed", "full", "closed"])
def test_nothing_of_a_request_stays_in_memory_after_its_end(end):
    async def scenario():
        bench = Bench(queue_limit=1)
        bench.model.inputs = _Forgetful()
        asked = request(1, timeout=5.0)
        kept = weakref.ref(asked.inputs["x"])
        gc.disable()
        try:
            if end in ("full", "closed"):
                await _is_refused(bench, asked, end)
            else:
                await _is_run(bench, asked, end)
                # A worker that has begun the next batch has done with the last.
                await bench.busy(request(2))
            # The loop holds what it has just called until its next turn.
            await asyncio.sleep(0)
            del asked
            assert kept() is None
        finally:
            gc.enable()
        bench.model.let(None, None)
        await bench.queue.drain()
        bench.queue.close()

    play(scenario)


async def _is_refused(bench, asked, end):
    await bench.busy(request(0))
    if end == "full":
        await bench.submit(request(3))
    (task,) = await bench.submit(asked)
    if end == "closed":
        bench.queue.close()
    assert (await refusal(task))[0] == {"full": 429, "closed": 503}[end]


async def _is_run(bench, asked, end):
    (task,) = await bench.busy(asked)
    if end == "late":
        bench.clock.advance(5.0)
    elif end == "cancelled":
        task.cancel()
        await asyncio.wait([task])
    bench.model.let(ValueError() if end == "failed" else None)
    await asyncio.gather(task, return_exceptions=True)
    bench.failures.clear()


class _Forgetful(list):
    def append(self, item):
        pass

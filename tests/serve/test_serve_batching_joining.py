"""Which requests run together, and what each gets of the outputs."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from batching_stand_ins import Bench, FreeStandIn, StandIn, is_answer, play, request, spec

from nd_deploy.serve.exchange import OutputWanted, TensorSpec
from nd_deploy.serve.settings import Settings


def test_a_lone_request_runs_at_once_on_its_own_arrays():
    async def scenario():
        bench = Bench()
        asked = request(1, 2, 3, id="a")
        (task,) = await bench.busy(asked)
        bench.model.let()
        response = await task
        assert is_answer(response, 1, 2, 3)
        assert (response.id, response.spec) == ("a", bench.model.spec)
        assert bench.model.inputs[0] is asked.inputs["x"]
        assert response.outputs["y"].base is None
        bench.queue.close()

    play(scenario)


def test_what_comes_during_a_run_is_the_next_batch_and_each_gets_its_own_rows():
    async def scenario():
        bench = Bench()
        first = await bench.busy(request(1))
        others = await bench.submit(request(2), request(3, 4), request(5))
        bench.model.let(None, None)
        responses = await asyncio.gather(*first, *others)
        assert bench.model.batches == [[1], [2, 3, 4, 5]]
        for response, rows in zip(responses, ([1], [2], [3, 4], [5]), strict=True):
            assert is_answer(response, *rows)
        assert np.shares_memory(responses[1].outputs["y"].base, responses[2].outputs["y"])
        bench.queue.close()

    play(scenario)


def test_no_batch_is_larger_than_the_largest_and_none_overtakes_to_fill_it():
    async def scenario():
        bench = Bench(StandIn(spec(largest=4)))
        tasks = await bench.busy(request(0))
        tasks += await bench.submit(request(1, 2, 3), request(4, 5), request(6), request(7))
        bench.model.let(None, None, None)
        await asyncio.gather(*tasks)
        assert bench.model.batches == [[0], [1, 2, 3], [4, 5, 6, 7]]
        bench.queue.close()

    play(scenario)


def test_other_open_shapes_are_not_joined_and_keep_their_order():
    async def scenario():
        bench = Bench()
        tasks = await bench.busy(request(0))
        widths = {1: 2, 2: 3, 3: 2, 4: 5, 5: 3, 6: 2}
        tasks += await bench.submit(*(request(row, width=w) for row, w in widths.items()))
        bench.model.let(None, None, None, None)
        responses = await asyncio.gather(*tasks)
        assert bench.model.batches == [[0], [1, 3, 6], [2, 5], [4]]
        for response, (row, width) in zip(responses[1:], widths.items(), strict=True):
            assert is_answer(response, row, width=width)
        bench.queue.close()

    play(scenario)


def test_what_was_passed_over_is_still_before_what_came_after_it():
    async def scenario():
        bench = Bench(StandIn(spec(largest=4)))
        tasks = await bench.busy(request(0))
        tasks += await bench.submit(
            request(1, 2, 3), request(4, width=3), request(5), request(6, width=3)
        )
        bench.model.let(None, None, None)
        await asyncio.gather(*tasks)
        assert bench.model.batches == [[0], [1, 2, 3, 5], [4, 6]]
        bench.queue.close()

    play(scenario)


@pytest.mark.parametrize("largest", [0, 8])
def test_a_model_that_cannot_be_batched_runs_requests_one_by_one_in_order(largest):
    async def scenario():
        bench = Bench(StandIn(spec(largest=largest, batching=False)))
        tasks = await bench.busy(request(0))
        tasks += await bench.submit(request(1, 2), request(3))
        bench.model.let(None, None, None)
        await asyncio.gather(*tasks)
        assert bench.model.batches == [[0], [1, 2], [3]]
        rows = [execution.rows for execution in bench.notes.executions]
        assert rows == ([1, 2, 1] if largest else [1, 1, 1])
        bench.queue.close()

    play(scenario)


def test_only_the_outputs_that_are_wanted_are_given_in_their_order():
    async def scenario():
        bench = Bench()
        wanted = [(), ("first",), ("first", "y")]
        requests = [request(1, outputs=tuple(map(OutputWanted, names))) for names in wanted]
        tasks = await bench.busy(*requests)
        bench.model.let(None, None)
        responses = await asyncio.gather(*tasks)
        assert [tuple(each.outputs) for each in responses] == [
            ("y", "first"),
            ("first",),
            ("first", "y"),
        ]
        bench.queue.close()

    play(scenario)


def test_instances_run_at_the_same_time_each_always_in_its_own_thread():
    async def scenario():
        bench = Bench(StandIn(instances=3))
        tasks = []
        for row in range(3):
            tasks += await bench.busy(request(row))
        tasks += await bench.submit(*(request(row) for row in range(3, 6)))
        bench.model.let(None, None, instance=1)
        await bench.model.starts()
        assert bench.model.batches == [[0], [1], [2], [3, 4, 5]]
        bench.model.let(instance=0)
        bench.model.let(instance=2)
        await asyncio.gather(*tasks)
        idents = [ident for threads in bench.model.threads for ident in threads]
        assert len(idents) == len(set(idents)) == 3
        bench.queue.close()

    play(scenario)


class TestDelay:
    def test_the_first_waits_for_others_until_its_delay_has_passed(self):
        async def scenario():
            bench = Bench(batch_delay=0.5)
            tasks = await bench.submit(request(1))
            bench.clock.advance(0.4)
            tasks += await bench.submit(request(2))
            assert bench.model.batches == []
            bench.clock.advance(0.1)
            await bench.model.starts()
            assert bench.model.batches == [[1, 2]]
            bench.model.let()
            await asyncio.gather(*tasks)
            bench.queue.close()

        play(scenario)

    def test_a_whole_batch_waits_for_nothing(self):
        async def scenario():
            bench = Bench(batch_delay=0.5)
            tasks = await bench.submit(request(1, 2, 3, 4))
            tasks += await bench.busy(request(5, 6, 7, 8))
            assert bench.model.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]
            bench.model.let()
            await asyncio.gather(*tasks)
            bench.queue.close()

        play(scenario)

    def test_what_comes_after_the_delay_has_passed_joins_those_that_wait_for_the_model(self):
        async def scenario():
            bench = Bench(batch_delay=0.5)
            tasks = await bench.submit(request(1))
            bench.clock.advance(0.5)
            await bench.model.starts()
            tasks += await bench.submit(request(2))
            bench.clock.advance(0.5)
            tasks += await bench.submit(request(3))
            bench.model.let(None, None)
            await bench.model.starts()
            assert bench.model.batches == [[1], [2, 3]]
            await asyncio.gather(*tasks)
            bench.queue.close()

        play(scenario)

    def test_all_that_was_held_runs_then_on_every_idle_instance(self):
        async def scenario():
            bench = Bench(StandIn(instances=2), batch_delay=0.5)
            tasks = await bench.submit(request(1), request(2, width=3))
            bench.clock.advance(0.5)
            assert sorted(await bench.model.starts(2)) == [0, 1]
            assert sorted(bench.model.batches) == [[1], [2]]
            bench.model.let(instance=0)
            bench.model.let(instance=1)
            await asyncio.gather(*tasks)
            bench.queue.close()

        play(scenario)

    def test_the_delay_begins_anew_when_the_first_is_cancelled(self):
        async def scenario():
            bench = Bench(batch_delay=0.5)
            begin = bench.clock.now()
            (cancelled,) = await bench.submit(request(1))
            bench.clock.advance(0.4)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            tasks = await bench.submit(request(2))
            timers = sorted(timer.when - begin for timer in bench.clock.pending())
            assert timers == pytest.approx([0.4 + 0.5, Settings.deadline])
            bench.clock.advance(0.5)
            await bench.model.starts()
            bench.model.let()
            await asyncio.gather(*tasks)
            bench.queue.close()

        play(scenario)

    def test_a_model_that_cannot_be_batched_has_none(self):
        async def scenario():
            bench = Bench(StandIn(spec(batching=False)), batch_delay=0.5)
            (task,) = await bench.busy(request(1))
            bench.model.let()
            assert is_answer(await task, 1)
            bench.queue.close()

        play(scenario)

    def test_a_drain_does_not_wait_for_it(self):
        async def scenario():
            bench = Bench(batch_delay=0.5)
            (task,) = await bench.submit(request(1))
            bench.model.let()
            await bench.queue.drain()
            assert is_answer(task.result(), 1)
            bench.queue.close()

        play(scenario)


def test_a_request_has_the_rows_of_its_first_input_whatever_the_others_are():
    async def scenario():
        first = spec(batching=False)
        scalar = TensorSpec("t", "FP32", ())
        bench = Bench(FreeStandIn(replace(first, inputs=(*first.inputs, scalar))))
        asked = request(1, 2, 3)
        asked.inputs["t"] = np.array(5, np.float32)
        assert is_answer(await bench.queue.submit(asked), 1, 2, 3)
        assert bench.notes.executions[0].rows == 3
        bench.queue.close()

    play(scenario)

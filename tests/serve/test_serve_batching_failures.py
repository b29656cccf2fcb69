"""What becomes of requests when the model fails, and what the operator learns of it."""

import asyncio
import logging

import numpy as np
import pytest
from batching_stand_ins import Bench, StandIn, is_answer, play, refusal, request

from nd_deploy.errors import BackendError
from nd_deploy.serve.batching.failures import Failure, log_failure
from nd_deploy.serve.refusal import Refusal

SECRET = BackendError("CUDA error 700 in /srv/secret/model.onnx", "look at the device")


@pytest.mark.parametrize("error", [SECRET, RuntimeError("secret"), MemoryError("secret")])
def test_a_request_that_failed_alone_is_refused_without_details_and_not_tried_again(error):
    async def scenario():
        bench = Bench()
        (task,) = await bench.busy(request(1, id="a"))
        bench.model.let(error)
        with pytest.raises(Refusal) as caught:
            await task
        assert (caught.value.status, caught.value.reason) == (500, "run failed")
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert bench.model.batches == [[1]]
        assert bench.failures == [Failure("stand-in", ["a"], False, error)]
        assert (bench.notes.executions, bench.notes.reasons) == ([], ["run failed"])
        bench.queue.close()

    play(scenario)


def test_one_request_that_the_model_cannot_bear_takes_no_other_of_its_batch_with_it():
    async def scenario():
        bench = Bench()
        first = await bench.busy(request(0))
        tasks = await bench.submit(*(request(row, id=str(row)) for row in (1, 2, 3)))
        bench.model.let(None, MemoryError(), None, SECRET, None)
        responses = await asyncio.gather(*first, tasks[0], tasks[2])
        assert [is_answer(each, row) for each, row in zip(responses, (0, 1, 3), strict=True)]
        assert await refusal(tasks[1]) == (500, "run failed")
        assert bench.model.batches == [[0], [1, 2, 3], [1], [2], [3]]
        assert [(failure.ids, failure.retried) for failure in bench.failures] == [
            (["1", "2", "3"], True),
            (["2"], False),
        ]
        assert [execution.rows for execution in bench.notes.executions] == [1, 1, 1]
        bench.queue.close()

    play(scenario)


def test_of_a_failed_batch_each_is_answered_as_soon_as_it_has_run_alone():
    async def scenario():
        bench = Bench()
        await bench.busy(request(0))
        tasks = await bench.submit(request(1), request(2))
        bench.model.let(None, SECRET, None)
        assert is_answer(await tasks[0], 1)
        assert not tasks[1].done()
        bench.model.let()
        assert is_answer(await tasks[1], 2)
        bench.queue.close()

    play(scenario)


def test_of_a_failed_batch_what_is_late_or_cancelled_by_then_is_not_tried_again():
    async def scenario():
        bench = Bench()
        first = await bench.busy(request(0))
        tasks = await bench.submit(
            request(1), request(2, timeout=1.0), request(3), request(4, timeout=1.5), request(5)
        )
        bench.model.let()
        await bench.model.starts()
        bench.clock.advance(1.0)
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        # That the fourth is late is not noticed in time by the loop, but by the worker.
        bench.clock.pass_unnoticed(0.5)
        bench.model.let(SECRET, None, None)
        responses = await asyncio.gather(*first, tasks[0], tasks[4])
        assert all(is_answer(each, row) for each, row in zip(responses, (0, 1, 5), strict=True))
        assert [await refusal(tasks[index]) for index in (1, 3)] == [(504, "deadline passed")] * 2
        assert bench.model.batches == [[0], [1, 2, 3, 4, 5], [1], [5]]
        await bench.queue.drain()
        bench.queue.close()

    play(scenario)


@pytest.mark.parametrize("wrong", [np.zeros((1, 2)), np.zeros(()), np.zeros((4, 2))])
def test_outputs_that_cannot_be_divided_by_rows_are_given_to_nobody(wrong):
    class Undividable(StandIn):
        def compute(self, x):
            outputs = super().compute(x)
            return outputs if len(x) == 1 else outputs | {"y": wrong}

    async def scenario():
        bench = Bench(Undividable())
        tasks = await bench.busy(request(0))
        tasks += await bench.submit(request(1), request(2))
        bench.model.let(None, None, None, None)
        responses = await asyncio.gather(*tasks)
        assert all(is_answer(each, row) for row, each in enumerate(responses))
        assert bench.model.batches == [[0], [1, 2], [1], [2]]
        assert f"output 'y' is {wrong.shape} for a batch of 2" in str(bench.failures[0].error)
        bench.queue.close()

    play(scenario)


def test_the_queue_goes_on_after_a_failure():
    async def scenario():
        bench = Bench()
        for row in range(3):
            (task,) = await bench.busy(request(row))
            bench.model.let(SECRET)
            assert await refusal(task) == (500, "run failed")
        (task,) = await bench.busy(request(3))
        bench.model.let()
        assert is_answer(await task, 3)
        bench.queue.close()

    play(scenario)


@pytest.mark.parametrize(
    ("retried", "outcome"),
    [(True, "each is tried again alone"), (False, "they are answered with 500")],
)
def test_the_log_says_which_requests_failed_and_why(caplog, retried, outcome):
    with caplog.at_level(logging.ERROR):
        log_failure(Failure("net", ["a\nb", None], retried, SECRET))
    (record,) = caplog.records
    assert record.getMessage() == rf"model 'net' failed on the requests ['a\nb', None]; {outcome}"
    assert record.exc_info[1] is SECRET

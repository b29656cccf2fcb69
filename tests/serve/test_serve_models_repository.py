import asyncio
import logging

import numpy as np
import pytest
from swapped_models import Loader, Queue, put, request, source

from nd_deploy.errors import BackendError, BundleError, InputError, ParityError
from nd_deploy.serve.models.repository import ModelRepository, Reloads
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.refusal import Refusal


class Stage:
    """A repository of one model, and what it is made of."""

    def __init__(self, tmp_path, *others):
        self.folder = tmp_path / "m"
        self.load = Loader()
        self.queues = []
        sources = [source(self.folder), *others]
        self.repository = ModelRepository(sources, self.make_queue, self.load)

    def make_queue(self, model):
        self.queues.append(Queue(model))
        return self.queues[-1]

    async def update(self, content):
        put(self.folder, content)
        return await self.repository.reload("m")

    @property
    def state(self):
        (state,) = self.repository.models()
        return state.state, state.version, state.reason


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


async def refused(awaitable):
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


def test_a_model_is_loading_then_ready_then_gone(stage):
    async def scenario():
        repository = stage.repository
        assert stage.state == ("LOADING", "1", "it is being loaded")
        assert not repository.ready
        assert (await refused(repository.infer(request()))).status == 503
        await repository.start()
        assert stage.state == ("READY", "1", "")
        assert repository.ready
        assert repository.spec("m").version == "1"
        answer = await repository.infer(request(3.0))
        np.testing.assert_array_equal(answer.outputs["y"], [6.0])
        await repository.drain()
        assert stage.state == ("UNAVAILABLE", "1", "the server is ending")
        assert (await refused(repository.infer(request()))).status == 503
        assert stage.queues[0].closed
        assert stage.load.models[0].closed

    asyncio.run(scenario())


def test_models_are_listed_by_name(tmp_path):
    stage = Stage(tmp_path, source(tmp_path / "a", "a"), source(tmp_path / "z", "z"))
    assert [state.name for state in stage.repository.models()] == ["a", "m", "z"]


def test_requests_for_what_is_not_there_are_refused(stage):
    async def scenario():
        repository = stage.repository
        await repository.start()
        unknown = await refused(repository.infer(request(model="other")))
        assert (unknown.status, unknown.message) == (404, "there is no model 'other'")
        old = await refused(repository.infer(request(version="2")))
        assert old.status == 404
        assert "'2'" in old.message
        assert (await repository.infer(request(version="1"))).spec.version == "1"
        with pytest.raises(Refusal):
            repository.spec("m", "2")

    asyncio.run(scenario())


def test_inputs_that_do_not_fit_never_reach_the_queue(stage):
    async def scenario():
        await stage.repository.start()
        bad = request()
        bad.inputs.clear()
        refusal = await refused(stage.repository.infer(bad))
        assert refusal.status == 400
        assert "input 'x' is missing" in refusal.message
        assert not stage.queues[0].waiting

    asyncio.run(scenario())


def test_a_bundle_that_cannot_be_served_ends_the_start(tmp_path):
    stage = Stage(tmp_path, source(tmp_path / "bad", "n", "bad"), source(tmp_path / "z", "z"))

    async def scenario():
        with pytest.raises(BundleError, match="has changed"):
            await stage.repository.start()
        states = {state.name: state.state for state in stage.repository.models()}
        assert states == {"m": "READY", "n": "UNAVAILABLE", "z": "LOADING"}
        assert not stage.repository.ready
        await stage.repository.drain()
        assert stage.load.models[0].closed

    asyncio.run(scenario())


def test_the_old_model_answers_while_the_new_one_loads(stage):
    async def scenario():
        repository = stage.repository
        await repository.start()
        stage.load.go_on.clear()
        update = asyncio.create_task(stage.update("good 2"))
        for _ in range(5):
            assert (await repository.infer(request())).spec.version == "1"
        assert repository.ready
        stage.load.go_on.set()
        assert await update
        assert (await repository.infer(request())).spec.version == "2"
        assert repository.spec("m").version == "2"
        assert stage.state == ("READY", "2", "")
        assert repository.reloads == {"m": Reloads(done=1)}
        assert (await refused(repository.infer(request(version="1")))).status == 404

    asyncio.run(scenario())


def test_what_waits_at_a_swap_is_answered_by_the_old_model_which_then_closes(stage):
    async def scenario():
        repository = stage.repository
        await repository.start()
        (old,) = stage.queues
        old.go_on.clear()
        early = asyncio.create_task(repository.infer(request()))
        await asyncio.sleep(0)
        update = asyncio.create_task(stage.update("good 2"))
        while repository.spec("m").version == "1":
            await asyncio.sleep(0)
        # New requests need not wait for the old ones.
        assert (await repository.infer(request())).spec.version == "2"
        assert not old.closed
        assert not update.done()
        old.go_on.set()
        assert (await early).spec.version == "1"
        await update
        assert old.closed
        assert stage.load.models[0].closed
        assert not stage.load.models[1].closed

    asyncio.run(scenario())


def test_no_request_is_lost_in_ten_swaps_and_the_end(stage):
    answered = []
    sent = 0

    async def client(repository):
        nonlocal sent
        while repository.ready:
            sent += 1
            answer = await repository.infer(request(sent))
            answered.append(int(answer.spec.version))

    async def scenario():
        repository = stage.repository
        await repository.start()
        clients = [asyncio.create_task(client(repository)) for _ in range(8)]
        for count in range(10):
            assert await stage.update(f"good {count}")
        repository.end()
        await asyncio.gather(*clients)
        await repository.drain()

    asyncio.run(scenario())
    assert len(answered) == sent
    assert answered == sorted(answered)
    assert set(answered) == set(range(1, 12))
    assert all(model.closed for model in stage.load.models)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BundleError("/secret/m lacks model.onnx", "copy it"), "its files are not whole"),
        (ParityError("/secret/m is off", "convert it"), "outputs of the trained network"),
        (BackendError("no GPU in /secret", "get one"), "cannot be run"),
        (RuntimeError("/secret: a fault of ours"), "cannot be run"),
    ],
)
def test_a_bad_update_keeps_the_old_model_and_says_why(stage, caplog, error, told):
    async def scenario():
        repository = stage.repository
        await repository.start()
        stage.load.error = error
        with caplog.at_level(logging.ERROR):
            assert not await stage.update("bad")
        assert repository.ready
        state, version, reason = stage.state
        assert (state, version) == ("READY", "1")
        assert told in reason
        assert "secret" not in reason
        assert "/secret" in caplog.text
        assert repository.reloads == {"m": Reloads(failed=1)}
        assert (await repository.infer(request())).spec.version == "1"
        assert await stage.update("good 2")
        assert stage.state == ("READY", "2", "")
        assert repository.reloads == {"m": Reloads(done=1, failed=1)}

    asyncio.run(scenario())


def test_a_change_that_was_undone_leaves_no_reason(stage):
    async def scenario():
        await stage.repository.start()
        await stage.update("bad")
        stage.repository.forget_failure("m")
        assert stage.state == ("READY", "1", "")

    asyncio.run(scenario())


def test_a_reload_that_is_cancelled_loses_no_request(stage):
    async def scenario():
        repository = stage.repository
        await repository.start()
        (old,) = stage.queues
        old.go_on.clear()
        early = asyncio.create_task(repository.infer(request()))
        await asyncio.sleep(0)
        update = asyncio.create_task(stage.update("good 2"))
        while repository.spec("m").version == "1":
            await asyncio.sleep(0)
        update.cancel()
        end = asyncio.create_task(repository.drain())
        await asyncio.sleep(0)
        assert not end.done()
        old.go_on.set()
        assert (await early).spec.version == "1"
        await end
        assert all(model.closed for model in stage.load.models)

    asyncio.run(scenario())


def test_an_end_that_takes_too_long_can_be_cut_off(stage):
    async def scenario():
        await stage.repository.start()
        (queue,) = stage.queues
        queue.go_on.clear()
        waiting = asyncio.create_task(stage.repository.infer(request()))
        await asyncio.sleep(0)
        end = asyncio.create_task(stage.repository.drain())
        await asyncio.sleep(0)
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        assert queue.closed
        # Something may still run in it.
        assert not stage.load.models[0].closed
        waiting.cancel()

    asyncio.run(scenario())


def test_at_the_end_requests_are_answered_though_the_server_is_not_ready(stage):
    async def scenario():
        await stage.repository.start()
        stage.repository.end()
        assert not stage.repository.ready
        assert (await stage.repository.infer(request())).spec.version == "1"

    asyncio.run(scenario())


def test_two_bundles_of_one_name_are_refused(tmp_path):
    sources = [Source("m", tmp_path / "a"), Source("m", tmp_path / "b")]
    with pytest.raises(InputError) as caught:
        ModelRepository(sources, Queue, Loader())
    for word in (str(tmp_path / "a"), str(tmp_path / "b"), "'m'", "NAME=BUNDLE"):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "..", "ä", "a b", "stats", "n" * 129])
def test_names_that_do_not_fit_into_a_url_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="NAME=BUNDLE"):
        ModelRepository([Source(name, tmp_path)], Queue, Loader())

import asyncio
import contextlib
import shutil

import pytest
from served_bundle import images, rewrite_hash, scores, write
from swapped_models import Loader, Queue, put, source

from nd_deploy.serve.exchange import InferRequest
from nd_deploy.serve.models.loading import load_source
from nd_deploy.serve.models.reload import Watch, list_files, until_set_or
from nd_deploy.serve.models.repository import ModelRepository
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.settings import Settings


class Clock:
    """A `Wait` whose time passes when the test says so, and not before a look has ended."""

    def __init__(self):
        self.asked = []
        self._turn = asyncio.Semaphore(0)
        self._looked = asyncio.Semaphore(0)

    async def wait(self, event, seconds):
        self.asked.append(seconds)
        self._looked.release()
        await self._turn.acquire()

    async def pass_once(self):
        await self._looked.acquire()
        self._turn.release()
        await self._looked.acquire()
        self._looked.release()


class Watched:
    def __init__(self, folder, load, interval):
        self.folder, self.load = folder, load
        self.repository = ModelRepository([source(folder)], Queue, load)
        self.clock = Clock()
        self.watch = Watch(self.repository, interval, self.clock.wait)

    async def looks(self, count=1):
        for _ in range(count):
            await self.clock.pass_once()

    @property
    def version(self):
        return self.repository.spec("m").version

    @property
    def reason(self):
        return self.repository.models()[0].reason


@contextlib.asynccontextmanager
async def watched(tmp_path, interval=2.0):
    stage = Watched(tmp_path / "m", Loader(), interval)
    await stage.repository.start()
    task = asyncio.create_task(stage.watch.run())
    try:
        yield stage
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await stage.repository.drain()


def watching(scenario):
    """Run a coroutine of a test against a watched repository."""

    def test(tmp_path):
        async def run():
            async with watched(tmp_path) as stage:
                await scenario(stage)

        asyncio.run(run())

    return test


@watching
async def test_a_changed_bundle_is_served_at_the_next_look(stage):
    await stage.looks(2)
    assert len(stage.load.models) == 1
    put(stage.folder, "good 2")
    await stage.looks()
    assert stage.version == "2"
    await stage.looks(3)
    assert len(stage.load.models) == 2
    assert set(stage.clock.asked) == {2.0}


@watching
async def test_a_manifest_that_was_only_touched_is_not_loaded_again(stage):
    await stage.looks()
    put(stage.folder, "good 1")
    await stage.looks(2)
    assert len(stage.load.models) == 1


@watching
async def test_a_bad_bundle_is_tried_once_until_it_changes(stage):
    put(stage.folder, "bad")
    await stage.looks(4)
    assert stage.version == "1"
    assert len(stage.load.failures) == 1
    assert stage.repository.reloads["m"].failed == 1
    put(stage.folder, "bad again")
    await stage.looks(4)
    assert len(stage.load.failures) == 2
    put(stage.folder, "good 2")
    await stage.looks(2)
    assert stage.version == "2"
    assert stage.reason == ""


@watching
async def test_a_copy_that_grows_is_loaded_once_it_has_stopped(stage):
    put(stage.folder, "bad: its model is not there yet")
    await stage.looks()
    for size in range(3):
        (stage.folder / "model.onnx").write_bytes(bytes(size + 1))
        await stage.looks()
    assert len(stage.load.failures) == 1
    put(stage.folder, "good 2")
    await stage.looks()
    assert stage.version == "1"
    await stage.looks()
    assert stage.version == "2"


@watching
async def test_a_change_that_is_undone_is_no_longer_a_failure(stage):
    put(stage.folder, "bad")
    await stage.looks()
    assert stage.reason
    put(stage.folder, "good 1")
    await stage.looks(2)
    assert stage.reason == ""
    assert stage.version == "1"
    assert len(stage.load.models) == 1


@watching
async def test_a_bundle_that_is_gone_for_a_moment_is_no_failure(stage):
    await stage.looks(2)
    shutil.move(stage.folder, stage.folder.with_name("old"))
    await stage.looks()
    put(stage.folder, "good 2")
    await stage.looks()
    assert stage.version == "2"
    assert stage.repository.reloads["m"].failed == 0


def test_a_bundle_that_stays_away_is_a_failure_and_the_old_one_serves(tmp_path):
    async def run():
        async with watched(tmp_path) as stage:
            stage.load.error = FileNotFoundError("manifest.json")
            shutil.rmtree(stage.folder)
            await stage.looks(4)
            assert stage.repository.reloads["m"].failed == 1
            assert stage.version == "1"
            assert stage.repository.ready

    asyncio.run(run())


def test_asking_looks_at_once_and_tries_again(tmp_path):
    async def run():
        async with watched(tmp_path, interval=0) as stage:
            put(stage.folder, "bad")
            stage.watch.look_now()
            await stage.looks()
            assert len(stage.load.failures) == 1
            stage.watch.look_now()
            await stage.looks()
            assert len(stage.load.failures) == 2
            assert set(stage.clock.asked) == {None}

    asyncio.run(run())


def test_the_clock_is_cut_short_by_an_event():
    async def run():
        event = asyncio.Event()
        await until_set_or(event, 0)
        assert not event.is_set()
        event.set()
        await until_set_or(event, None)

    asyncio.run(run())


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert list_files(tmp_path / "nothing") == {}


@pytest.mark.parametrize("damage", ["model", "reference"])
def test_a_real_bundle_is_swapped_and_a_damaged_one_is_not(tmp_path, damage):
    folder = write(tmp_path / "tiny")
    settings = Settings(threads=1, max_batch=4)
    repository = ModelRepository(
        [Source("tiny", folder)],
        Queue,
        lambda source, version: load_source(source, version, settings),
    )
    x = images(2, seed=9)

    async def factor():
        answer = await repository.infer(InferRequest("tiny", None, None, {"image": x}))
        return answer.outputs["logits"][0, 0] / scores(x)[0, 0]

    async def run():
        await repository.start()
        assert await factor() == pytest.approx(1)
        write(folder, factor=3, overwrite=True)
        assert await repository.reload("tiny")
        assert await factor() == pytest.approx(3)
        write(folder, factor=5, overwrite=True)
        break_bundle(folder, damage)
        assert not await repository.reload("tiny")
        assert await factor() == pytest.approx(3)
        await repository.drain()

    asyncio.run(run())


def break_bundle(folder, damage):
    if damage == "model":
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-4])
    else:
        other = write(folder.with_name("other"), factor=7)
        shutil.copy(other / "reference.npz", folder)
        rewrite_hash(folder / "reference.npz")

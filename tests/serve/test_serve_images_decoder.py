"""Decoding beside the event loop: what waits, what is dropped, and what is refused."""

import asyncio
import contextlib
import sys
import threading
from dataclasses import replace

import image_service as served
import numpy as np
import pytest

from nd_deploy.errors import MissingDependencyError
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

PNG = served.encoded(served.picture())


class Held:
    """Stands for decoding, and goes on when it is let."""

    def __init__(self):
        self.go, self.seen, self.threads = threading.Event(), [], set()
        self.begun = threading.Semaphore(0)

    def __call__(self, data, preprocessing, max_pixels):
        self.seen.append(bytes(data))
        self.threads.add(threading.current_thread())
        self.begun.release()
        assert self.go.wait(30)
        return np.zeros((1, 3, 4, 6), np.float32)


@pytest.fixture
def held(monkeypatch):
    held = Held()
    monkeypatch.setattr("nd_deploy.serve.images.decoder.decode_image", held)
    yield held
    held.go.set()


@pytest.fixture
def make_decoder():
    made = []

    def make(**limits):
        made.append(Decoder(replace(Settings(), **limits)))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


def start(decoder, data):
    return asyncio.create_task(decoder.decode(data, "", served.PLAIN))


async def both_threads_busy(decoder, held):
    tasks = [start(decoder, b"first"), start(decoder, b"second")]
    for _ in tasks:
        await asyncio.to_thread(held.begun.acquire)
    return tasks


def test_an_image_is_decoded_beside_the_event_loop(make_decoder, held):
    async def run():
        tasks = await both_threads_busy(make_decoder(), held)
        held.go.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert threading.main_thread() not in held.threads
    assert len(held.threads) == 2


class Bytes(bytes):
    """Bytes that say when they are gone."""

    gone = False

    def __del__(self):
        Bytes.gone = True


def test_what_waits_is_dropped_with_its_bytes_when_its_caller_is_cancelled(make_decoder, held):
    async def run():
        decoder = make_decoder()
        busy = await both_threads_busy(decoder, held)
        waiting = start(decoder, Bytes(b"third"))
        await asyncio.sleep(0)
        assert not Bytes.gone
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del waiting
        assert Bytes.gone
        held.go.set()
        await asyncio.gather(*busy)
        await start(decoder, b"last")

    asyncio.run(run())
    assert held.seen[2:] == [b"last"]


def test_what_waits_is_dropped_when_its_client_goes_away(held):
    told = threading.Event()
    service = served.LinearModels(served.spec())

    def post(running, body):
        connection = running.connect()
        head = f"POST /v1/models/pets/classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        return connection

    with (
        served.serving(service, Settings(), lambda answered: told.set()) as running,
        contextlib.ExitStack() as connections,
    ):
        for body in (b"first", b"second"):
            connections.enter_context(post(running, body))
            assert held.begun.acquire(timeout=30)
        post(running, b"third").close()
        assert told.wait(30)
        connections.enter_context(post(running, b"fourth"))
        held.go.set()
        assert held.begun.acquire(timeout=30)
    assert held.seen == [b"first", b"second", b"fourth"]


@pytest.mark.parametrize("limits", [{"queue_limit": 3}, {"queue_bytes": 16}])
def test_too_many_images_that_wait_are_refused_until_there_is_room(make_decoder, held, limits):
    async def run():
        decoder = make_decoder(**limits)
        tasks = await both_threads_busy(decoder, held)
        tasks.append(start(decoder, b"third"))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as caught:
            await start(decoder, b"fourth")
        tasks.pop().cancel()
        await asyncio.sleep(0)
        tasks.append(start(decoder, b"fifth"))
        held.go.set()
        await asyncio.gather(*tasks)
        return caught.value

    refusal = asyncio.run(run())
    assert (refusal.status, refusal.retry_after) == (429, 1)
    assert b"fifth" in held.seen


def test_a_refused_image_makes_room_too(make_decoder):
    async def run():
        decoder = make_decoder(queue_limit=1)
        for _ in range(3):
            with pytest.raises(Refusal, match="no JPEG"):
                await start(decoder, b"text")
            await asyncio.sleep(0)
        return await start(decoder, PNG)

    assert asyncio.run(run()).shape == (1, 3, 4, 6)


def test_the_file_in_a_form_has_the_same_limit_as_a_bare_one(make_decoder):
    head = b'--edge\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    body = head + PNG + b"\r\n--edge--\r\n"
    content_type = "multipart/form-data; boundary=edge"

    async def decode(limit):
        return await make_decoder(image_bytes=limit).decode(body, content_type, served.PLAIN)

    assert asyncio.run(decode(len(PNG))).shape == (1, 3, 4, 6)
    with pytest.raises(Refusal) as caught:
        asyncio.run(decode(len(PNG) - 1))
    assert caught.value.status == 413


def test_closing_drops_what_waits(make_decoder, held):
    async def run():
        decoder = make_decoder()
        busy = await both_threads_busy(decoder, held)
        waiting = start(decoder, b"third")
        await asyncio.sleep(0)
        decoder.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        held.go.set()
        await asyncio.gather(*busy)

    asyncio.run(run())
    assert len(held.seen) == 2


@pytest.mark.parametrize("module", ["PIL.Image", "python_multipart"])
def test_without_what_it_needs_the_extra_is_named(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        Decoder(Settings())
    assert "nd-deploy[serve]" in caught.value.remedy

"""Models and queues for tests of the repository, of which nothing takes time by itself."""

import asyncio
import hashlib
import threading

import numpy as np

from nd_deploy.errors import BundleError, InputError
from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.refusal import NOT_READY, Refusal


class Model:
    def __init__(self, source, version, digest):
        self.spec = ModelSpec(source.name, version, (), (), max_batch=4, batching=True)
        self.digest = digest
        self.instances = 1
        self.closed = False

    def check(self, inputs):
        if "x" not in inputs:
            raise InputError("input 'x' is missing", "give every input")

    def run(self, inputs, instance):
        assert not self.closed
        return {"y": 2 * inputs["x"]}

    def close(self):
        assert not self.closed
        self.closed = True


class Loader:
    """Loads folders whose manifest says "good ..."; counts, and waits if it is told to."""

    def __init__(self):
        self.models = []
        self.failures = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.error = BundleError("/secret/path has changed", "copy it again")

    def __call__(self, source, version):
        self.go_on.wait(timeout=30)
        content = (source.path / "manifest.json").read_bytes()
        if not content.startswith(b"good"):
            self.failures.append(content)
            raise self.error
        self.models.append(Model(source, version, hashlib.sha256(content).hexdigest()))
        return self.models[-1]


class Queue:
    """Answers each request after it has given way once, or once it is told to."""

    def __init__(self, model):
        self.model = model
        self.draining = self.closed = False
        self.waiting = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.moved = asyncio.Condition()

    async def submit(self, request):
        if self.draining:
            raise Refusal(NOT_READY, "draining", "the queue is draining")
        self.waiting += 1
        await asyncio.sleep(0)
        await self.go_on.wait()
        outputs = self.model.run(request.inputs, 0)
        async with self.moved:
            self.waiting -= 1
            self.moved.notify_all()
        return InferResponse(self.model.spec, request.id, outputs)

    async def drain(self):
        self.draining = True
        async with self.moved:
            await self.moved.wait_for(lambda: not self.waiting)

    def close(self):
        self.closed = True


def put(folder, content):
    """Replace the bundle in a folder by one of that content, as by renaming."""
    folder.mkdir(exist_ok=True)
    (folder / "new").write_text(content)
    (folder / "new").replace(folder / "manifest.json")


def source(folder, name="m", content="good 1"):
    put(folder, content)
    return Source(name, folder)


def request(value=1.0, model="m", version=None):
    return InferRequest(model, version, None, {"x": np.array([value])})

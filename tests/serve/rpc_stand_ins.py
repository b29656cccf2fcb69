"""A service that computes with numpy, and gRPC servers in front of it."""

import asyncio
import contextlib
import threading

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from nd_deploy.serve.exchange import InferResponse, ModelSpec, ModelState, TensorSpec
from nd_deploy.serve.http.observation import unobserved
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.rpc.server import start
from nd_deploy.serve.settings import Settings

PATIENCE = 20


def model(name, datatype="FP32", size=3, labels=(), max_batch=4):
    """A model that gives its input back."""
    return ModelSpec(
        name,
        "1",
        (TensorSpec("x", datatype, (-1, size)),),
        (TensorSpec("y", datatype, (-1, size), len(labels)),),
        max_batch,
        batching=True,
        labels=labels,
        providers=("CPUExecutionProvider",),
    )


class EchoService:
    """Gives inputs back as outputs.

    Attributes:
        requests: those that came to be run.
        ready: what it says of itself.
        refusal: what it raises instead of running; None to run.
        states: of models that are not ready.
    """

    def __init__(self, *specs):
        self._specs = {spec.name: spec for spec in specs or (model("echo"),)}
        self.requests = []
        self.ready = True
        self.refusal = None
        self.states = []

    def spec(self, name, version=None):
        if any(state.name == name for state in self.states):
            raise Refusal(503, "not ready", f"model '{name}' is not ready", retry_after=2)
        if name not in self._specs or version not in (None, "1"):
            raise Refusal(404, "unknown model", f"there is no model '{name}' {version}")
        return self._specs[name]

    def models(self):
        ready = [ModelState(name, "1", "READY") for name in self._specs]
        return sorted([*ready, *self.states], key=lambda state: state.name)

    async def infer(self, request):
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        return InferResponse(
            self._specs[request.model], request.id, {"y": next(iter(request.inputs.values()))}
        )

    def statistics(self, name=None):
        names = [name] if name else sorted(self._specs)
        return [self._statistics(self.spec(name)) for name in names]

    @staticmethod
    def _statistics(spec):
        return {
            "name": spec.name,
            "version": spec.version,
            "last_inference": 1_700_000_000_000,
            "inference_count": 7,
            "execution_count": 5,
            "inference_stats": {"success": {"count": 6, "ns": 2**40}},
            "batch_stats": [{"batch_size": 2, "compute_infer": {"count": 5, "ns": 9}}],
        }


class HeldService(EchoService):
    """Runs nothing until it is let.

    Attributes:
        release: to be set for requests to go on.
        cancelled: set once a request that waits has been cancelled.
        running: how many wait.
        peak: the most that did.
    """

    def __init__(self, *specs, expected=1):
        super().__init__(*specs)
        self._expected = expected
        self._all_here = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.running = 0
        self.peak = 0

    async def arrived(self):
        """Wait until as many requests as are expected wait."""
        await asyncio.wait_for(self._all_here.wait(), PATIENCE)

    async def infer(self, request):
        self.running += 1
        self.peak = max(self.peak, self.running)
        if self.running == self._expected:
            self._all_here.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        return await super().infer(request)


@contextlib.contextmanager
def serving(service, **settings):
    """A server with a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    try:
        server = wait(start(service, Settings(grpc_port=0, **settings)))
        yield f"127.0.0.1:{server.port}"
        wait(server.stop(0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.asynccontextmanager
async def served(service, observe=unobserved, **settings):
    """A server in the running loop."""
    server = await start(service, Settings(grpc_port=0, **settings), observe)
    try:
        yield server
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def connected(service, observe=unobserved, **settings):
    """A server in the running loop, and a channel to it."""
    async with (
        served(service, observe, **settings) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


def stub(channel):
    """Triton's own stub of the service."""
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(array=None, **fields):
    """A request to the model "echo", in Triton's own message."""
    array = np.zeros((1, 3), np.float32) if array is None else array
    message = service_pb2.ModelInferRequest(model_name="echo", **fields)
    message.inputs.add(name="x", datatype="FP32", shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    return message

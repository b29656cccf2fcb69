"""A session on the processor in place of one on a GPU, whose buffers lie in the host's memory."""

import ctypes

import numpy as np
import onnx
import pytest
from onnx import parser
from simulated_gpu import COMPUTE, DOWNLOAD, LAUNCH, UPLOAD, SimulatedCuda

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat.cuda_torch import TorchCuda
from nd_deploy.errors import BackendError, InputError, MissingDependencyError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.device_opening import open_device
from nd_deploy.profiling.subjects.device_ort import require_copies
from nd_deploy.runtime import open_ort
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.feeds import Port
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.ort import libraries
from nd_deploy.runtime.ort.bindings import BufferedRuns
from nd_deploy.runtime.ort.buffers import Device, FixedBuffers

MODEL = """
<ir_version: 10, opset_import: ["": 21]>
g (float[N, 3] x, int64[N] k) => (float[N, 3] y, int64[N] l) { y = Add (x, x)  l = Neg (k) }
"""
OUTPUTS = [Port("y", "float32", ("N", 3)), Port("l", "int64", ("N",))]
ROWS = 4
FEEDS = {
    "x": np.arange(3.0 * ROWS, dtype=np.float32).reshape(ROWS, 3),
    "k": np.arange(ROWS, dtype=np.int64),
}


class Memory(dict):
    """Device memory that ONNX Runtime has allocated, too."""

    def __missing__(self, address):
        return np.ctypeslib.as_array((ctypes.c_uint8 * 4096).from_address(address))


@pytest.fixture
def cuda(monkeypatch):
    cuda = SimulatedCuda()
    cuda.device = Memory()
    monkeypatch.setattr(cuda_compat, "find", lambda: cuda)
    return cuda


@pytest.fixture
def opened(monkeypatch, cuda):
    """What the runtime is opened with, by the names of its arguments; runs take the GPU's time."""
    given = {}

    def open_here(model, runtime, options, optimise, stream):
        given.update(model=model, runtime=runtime, options=options, stream=stream)
        runner = OnnxRuntimeRunner(model)
        runner._buffers = BufferedRuns(runner._session, runner._ports, OUTPUTS, Device("cpu"))
        own = {"Provider.use_tf32": "0", "Provider.user_compute_stream": str(stream)}
        runner._receipt = Receipt("onnxruntime", "1", ("Provider",), ("Provider",), own)
        return runner

    run, enqueue = FixedBuffers.run, FixedBuffers.enqueue

    def waited_for(buffers):
        run(buffers)
        cuda.now += LAUNCH + COMPUTE

    def not_waited_for(buffers):
        enqueue(buffers)
        cuda.enqueue(given["stream"], lambda: None)

    monkeypatch.setattr(open_ort, "open_ort", open_here)
    monkeypatch.setattr(FixedBuffers, "run", waited_for)
    monkeypatch.setattr(FixedBuffers, "enqueue", not_waited_for)
    monkeypatch.setattr(libraries, "require_providers", lambda asked: None)
    monkeypatch.setattr(libraries, "require_libraries", lambda provider: None)
    return given


@pytest.fixture
def job(tmp_path):
    def make(runtime="ort-cuda", feeds=FEEDS, cold=False, **options):
        onnx.save(parser.parse_model(MODEL), tmp_path / "model.onnx")
        contestant = Contestant("net", runtime, ROWS, cold_l2=cold)
        return Job(contestant, tmp_path / "model.onnx", None, RunOptions(**options), feeds)

    return make


def check_outputs(outputs):
    assert list(outputs) == ["y", "l"]
    np.testing.assert_array_equal(outputs["y"], 2 * FEEDS["x"])
    np.testing.assert_array_equal(outputs["l"], -FEEDS["k"])
    assert (outputs["y"].dtype, outputs["l"].dtype) == (np.float32, np.int64)


def check_times(samples, **expected):
    assert samples.keys() == expected.keys()
    for metric, nanoseconds in expected.items():
        np.testing.assert_allclose(samples[metric], np.full(9, nanoseconds / 1e9), rtol=1e-12)


@pytest.mark.parametrize("cold", [False, True])
def test_the_cuda_provider_computes_in_the_stream_of_the_events(job, cuda, opened, cold):
    subject = open_device(job(cold=cold), cuda.host_time)
    check_outputs(subject.outputs())
    check_times(
        subject.measure(9),
        latency=LAUNCH + COMPUTE,
        compute=COMPUTE,
        enqueue=LAUNCH,
        h2d=2 * UPLOAD,
        d2h=2 * DOWNLOAD,
    )
    subject.close()
    assert not cuda.leaks


@pytest.mark.parametrize(
    ("runtime", "options"),
    [
        ("ort-cuda", {"cuda_graph": True}),
        ("ort-tensorrt", {}),
        ("ort-tensorrt", {"cuda_graph": True}),
    ],
)
def test_runs_that_may_be_waited_for_have_a_latency_alone(job, cuda, opened, runtime, options):
    subject = open_device(job(runtime, cold=True, **options), cuda.host_time)
    assert opened["stream"] is None
    check_outputs(subject.outputs())
    check_times(subject.measure(9), latency=LAUNCH + COMPUTE, h2d=2 * UPLOAD, d2h=2 * DOWNLOAD)
    subject.close()
    assert not cuda.leaks


def test_the_streams_address_is_no_part_of_the_receipt(job, cuda, opened):
    subject = open_device(job(), cuda.host_time)
    assert subject.receipt.options == {"Provider.use_tf32": "0"}


def test_inputs_and_outputs_are_told_apart_from_the_rest_of_the_memory(job, cuda, opened):
    subject = open_device(job(), cuda.host_time)
    subject.outputs()
    assert subject.memory["inputs and outputs"] == 2 * sum(x.nbytes for x in FEEDS.values())


@pytest.mark.parametrize(("runtime", "batch"), [("ort-cuda", None), ("ort-tensorrt", str(ROWS))])
def test_engines_of_the_tensorrt_provider_are_built_for_the_batch(
    job, cuda, opened, runtime, batch
):
    open_device(job(runtime), cuda.host_time)
    assert opened["options"].batch == batch


def test_an_input_of_another_type_is_refused_and_leaves_nothing(job, cuda, opened):
    wrong = {**FEEDS, "x": FEEDS["x"].astype(np.float64)}
    with pytest.raises(InputError, match="'x'"):
        open_device(job(feeds=wrong), cuda.host_time)
    assert not cuda.leaks


def test_too_little_pinned_memory_leaves_nothing(job, cuda, opened):
    cuda.fails.add("allocate_host")
    with pytest.raises(BackendError, match="allocate_host"):
        open_device(job(), cuda.host_time)
    assert not cuda.leaks


def test_pytorch_cannot_copy_to_another_librarys_memory():
    class Torch:
        __version__ = "2.13"

    with pytest.raises(MissingDependencyError, match=r"torch 2\.13 cannot copy") as caught:
        require_copies(TorchCuda(Torch()))
    assert "cuda-bindings" in caught.value.remedy

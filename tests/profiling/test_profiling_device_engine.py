"""Engines of a stand-in for TensorRT, on a GPU with a simulated clock."""

import numpy as np
import onnx
import pytest
from onnx import parser
from simulated_gpu import COMPUTE, DOWNLOAD, LAUNCH, UPLOAD, SimulatedCuda

# In simulated_gpu's path.
from engine_keys import KEY  # isort: skip
from stand_in_tensorrt import FakeTensorRT, batch, plan  # isort: skip

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat import trt as trt_compat
from nd_deploy.errors import BackendError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.subjects import device_opening
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.device_opening import open_device
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.running import engine_loading
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner


@pytest.fixture
def cuda(monkeypatch):
    cuda = SimulatedCuda()
    monkeypatch.setattr(cuda_compat, "find", lambda: cuda)
    return cuda


@pytest.fixture
def model(tmp_path):
    """A function of the batch as the model has it, a name or a number."""

    def save(size="N"):
        text = (
            '<ir_version: 10, opset_import: ["": 21]>'
            f"g (float[{size}, 3] x) => (float[{size}, 3] y) {{ y = Add (x, x) }}"
        )
        onnx.save(parser.parse_model(text), tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save


@pytest.fixture
def opened(monkeypatch, cuda, tmp_path):
    """What the runtime is opened with, by the names of its arguments; runs the engine `facts`."""
    module = FakeTensorRT(cuda)
    monkeypatch.setattr(trt_compat, "load", lambda asked=None: module)
    monkeypatch.setattr(engine_loading, "_LOADED", set())
    given = {"facts": {}}

    def open_runner(model, runtime, options):
        given.update(model=model, runtime=runtime, options=options)
        stored = write_engine(tmp_path / "net.engine", plan(**given["facts"]), KEY, {})
        return TensorRTRunner(stored, probe=False, cuda_graph=options.cuda_graph)

    monkeypatch.setattr(device_opening, "open_runner", open_runner)
    return given


@pytest.fixture
def job(model):
    def make(size=3, cold=False, model_batch="N", runtime="tensorrt", **options):
        graph = options.get("cuda_graph", False)
        contestant = Contestant("net", runtime, size, cuda_graph=graph, cold_l2=cold)
        return Job(contestant, model(model_batch), None, RunOptions(**options), batch(size))

    return make


def open_it(job, cuda):
    return open_device(job, cuda.host_time)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("cold", [False, True])
def test_it_is_timed_by_events_and_by_the_host(job, cuda, opened, graph, cold):
    subject = open_it(job(cuda_graph=graph, cold=cold), cuda)
    np.testing.assert_array_equal(subject.outputs()["y"], 2 * batch(3)["x"])
    samples = subject.measure(12)
    expected = {
        "latency": LAUNCH + COMPUTE,
        "compute": COMPUTE,
        "enqueue": LAUNCH,
        "h2d": UPLOAD,
        "d2h": DOWNLOAD,
    }
    assert samples.keys() == expected.keys()
    for metric, nanoseconds in expected.items():
        np.testing.assert_allclose(samples[metric], np.full(12, nanoseconds / 1e9), rtol=1e-12)
    subject.close()
    assert not cuda.leaks


def test_a_graph_is_captured_where_it_is_asked_for_and_replayed_for_every_run(job, cuda, opened):
    subject = open_it(job(cuda_graph=True), cuda)
    assert cuda.log.count("record") == 1
    cuda.log.clear()
    subject.measure(10)
    assert [call for call in cuda.log if not call.startswith("use")] == ["launch"] * 21
    assert subject.receipt.options["cuda_graph"] == "True"


def test_nothing_is_captured_otherwise(job, cuda, opened):
    subject = open_it(job(), cuda)
    subject.measure(10)
    assert "record" not in cuda.log
    assert "launch" not in cuda.log
    assert subject.receipt.options["cuda_graph"] == "False"


def test_many_replays_may_be_under_way_and_few_runs(job, cuda, opened):
    cuda.launch_cost = 100
    open_it(job(), cuda).measure(50)
    assert cuda.most == 2
    open_it(job(cuda_graph=True), cuda).measure(50)
    assert cuda.most == 16


def test_the_engine_tells_what_its_memory_is_for(job, cuda, opened):
    opened["facts"]["device_memory"] = 1234
    subject = open_it(job(), cuda)
    assert subject.memory == {}
    subject.outputs()
    assert subject.memory["activations"] == 1234
    assert subject.memory["inputs and outputs"] == 2 * batch(3)["x"].nbytes
    # The stand-in takes memory for its inputs and outputs alone.
    assert subject.memory["device"] == 2 * batch(3)["x"].nbytes


class TestBatch:
    def test_an_engine_is_built_for_the_contestants_batch(self, job, cuda, opened):
        open_it(job(2), cuda)
        assert opened["options"].batch == "2"
        assert opened["runtime"] == "tensorrt"

    @pytest.mark.parametrize(
        "options", [{"batch": "1:2:4"}, {"shapes": ("x=1x3:2x3:4x3",)}, {"engine": "net.engine"}]
    )
    def test_what_is_asked_for_is_left_as_it_is(self, job, cuda, opened, options):
        given = job(2, **options)
        open_it(given, cuda)
        assert opened["options"] == given.options

    def test_a_fixed_batch_needs_none(self, job, cuda, opened):
        opened["facts"].update(shape=(3, 3), profiles=[[(3, 3)] * 3])
        open_it(job(model_batch="3"), cuda)
        assert opened["options"].batch is None


class TestFailures:
    def test_what_cannot_be_captured_is_refused_and_leaves_nothing(self, job, cuda, opened):
        opened["facts"]["capturable"] = False
        with pytest.raises(BackendError, match="cannot be captured"):
            open_it(job(cuda_graph=True), cuda)
        assert not cuda.leaks

    def test_an_engine_that_fails_leaves_nothing(self, job, cuda, opened):
        subject = open_it(job(), cuda)
        cuda.fails.add("synchronise")
        with pytest.raises(BackendError):
            subject.measure(5)
        subject.close()
        assert not cuda.leaks

    def test_a_gpu_that_is_not_there_is_named(self, job, cuda, opened):
        with pytest.raises(BackendError, match="there is no GPU 2: CUDA finds 1"):
            open_it(job(options={"device_id": "2"}), cuda)

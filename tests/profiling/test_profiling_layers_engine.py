"""Layers of an engine of a stand-in for TensorRT, and of a real one where there is a GPU."""

import importlib
import importlib.util

import numpy as np
import onnx
import pytest
from onnx import parser
from simulated_gpu import SimulatedCuda

# In simulated_gpu's path.
import stand_in_tensorrt  # isort: skip
from engine_keys import KEY  # isort: skip

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat import trt as trt_compat
from nd_deploy.errors import BackendError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers import layer_times
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.running import engine_loading
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner

MODEL = """
<ir_version: 10, opset_import: ["": 21]>
g (float[N, 3] x) => (float[N, 3] y) { [first] a = Add (x, x) [relu] y = Relu (a) }
"""


class Profiler:
    """TensorRT's IProfiler, whose __init__ a derived class has to call."""

    ready = False

    def __init__(self):
        self.ready = True


class ReportingContext(stand_in_tensorrt.FakeContext):
    """A context that reports 1, 2, 3, ... ms for its first layer, run by run, and 0.5 for another.

    Attributes:
        runs: of all contexts, whether each was captured.
    """

    profiler = None
    runs = ()
    layers = ("first + relu", "Reformatting CopyNode for Output Tensor 0 to first + relu")

    def execute_async_v3(self, stream):
        captured = self.engine.trt.cuda.streams[stream].recording is not None
        self.runs.append(captured)
        done = super().execute_async_v3(stream)
        if self.profiler is not None:
            assert self.profiler.ready
            for name, ms in zip(self.layers, (float(len(self.runs)), 0.5), strict=False):
                self.profiler.report_layer_time(name, ms)
        return done


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setattr(ReportingContext, "runs", [])
    monkeypatch.setattr(stand_in_tensorrt, "FakeContext", ReportingContext)
    return ReportingContext


@pytest.fixture
def cuda(monkeypatch, tmp_path, context):
    cuda = SimulatedCuda()
    module = stand_in_tensorrt.FakeTensorRT(cuda)
    module.IProfiler = Profiler
    monkeypatch.setattr(cuda_compat, "find", lambda: cuda)
    monkeypatch.setattr(trt_compat, "load", lambda asked=None: module)
    monkeypatch.setattr(engine_loading, "_LOADED", set())

    def open_runner(model, runtime, options):
        stored = write_engine(tmp_path / "net.engine", stand_in_tensorrt.plan(), KEY, {})
        return TensorRTRunner(stored, probe=False, cuda_graph=options.cuda_graph)

    layers = importlib.import_module("nd_deploy.profiling.layers.engine_layers")
    monkeypatch.setattr(layers, "open_runner", open_runner)
    return cuda


@pytest.fixture
def job(tmp_path):
    onnx.save(parser.parse_model(MODEL), tmp_path / "model.onnx")
    options = RunOptions(cuda_graph=True)
    contestant = Contestant("net", "tensorrt", 2, cuda_graph=True)
    feeds = {"x": np.ones((2, 3), np.float32)}
    return Job(contestant, tmp_path / "model.onnx", None, options, feeds)


def test_the_median_of_each_layer_is_what_the_engine_reported(cuda, job, context):
    times = layer_times(job, 3, ("first",))
    # Runs 4, 5 and 6 count.
    assert times == (
        LayerTime("first + relu", "Add + Relu", pytest.approx(5e-3), "first"),
        LayerTime(context.layers[1], "Reformat", pytest.approx(0.5e-3)),
    )


def test_no_cuda_graph_is_used(cuda, job, context):
    layer_times(job, 2, ())
    assert context.runs == [False] * 5


def test_the_gpu_s_memory_is_given_back(cuda, job):
    layer_times(job, 1, ())
    assert not cuda.leaks


def test_an_engine_that_reports_nothing_is_refused(cuda, job, context, monkeypatch):
    monkeypatch.setattr(context, "layers", ())
    with pytest.raises(BackendError, match="TensorRT reported no layer's time"):
        layer_times(job, 1, ())
    assert not cuda.leaks


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
@pytest.mark.tensorrt
def test_a_profiler_is_one_of_tensorrt_s_own():
    module = trt_compat.load(trt_compat.RTX)
    reported = []
    profiler = trt_compat.make_profiler(module, lambda name, ms: reported.append((name, ms)))
    assert isinstance(profiler, module.IProfiler)
    profiler.report_layer_time("conv1 + relu", 0.25)
    assert reported == [("conv1 + relu", 0.25)]
    assert isinstance(module.IExecutionContext.profiler, property)


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_a_real_engine_s_layers_are_the_model_s(job):
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU: {found.reason}")
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("tensorrt is not installed")
    times = layer_times(job, 10, ("first",))
    assert "first" in {layer.nd_layer for layer in times}
    assert all(0 <= layer.seconds < 1 for layer in times)

"""Every runtime on a real GPU."""

import importlib.util
import time
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper, parser

from nd_deploy.doctor import children
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.device_opening import open_device
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device

pytestmark = pytest.mark.gpu

PROVIDERS = {"ort-cuda": "CUDAExecutionProvider", "ort-tensorrt": "TensorrtExecutionProvider"}
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((256, 128)).astype(np.float32)
X = RNG.standard_normal((64, 256)).astype(np.float32)


def require(runtime):
    """Skip what is not here, and say why."""
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU: {found.reason}")
    if runtime == "torch-cuda" and torch.version.cuda is None:
        pytest.skip("this PyTorch is built for the CPU")
    if runtime in PROVIDERS:
        if PROVIDERS[runtime] not in onnxruntime.get_available_providers():
            pytest.skip(f"this ONNX Runtime has no {PROVIDERS[runtime]}")
        reason = children.ask("onnxruntime", PROVIDERS[runtime]).get("run", "its process crashed")
        if reason:
            pytest.skip(reason)
    module = runtime.replace("-", "_")
    if runtime.startswith("tensorrt") and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def job(runtime, folder, graph):
    """max(x W, 0) in float32."""
    contestant = Contestant("product", runtime, len(X), cuda_graph=graph, cold_l2=True)
    options = RunOptions(cuda_graph=graph)
    if runtime == "torch-cuda":
        linear = torch.nn.Linear(*WEIGHT.shape, bias=False)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(WEIGHT.T))
        network = torch.nn.Sequential(linear, torch.nn.ReLU()).eval()
        return Job(contestant, None, SimpleNamespace(load=lambda: network), options, {"x": X})
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]>'
        "g (float[N, 256] x) => (float[N, 128] y) { p = MatMul (x, w)  y = Relu (p) }"
    )
    proto.graph.initializer.append(numpy_helper.from_array(WEIGHT, "w"))
    onnx.save(proto, folder / "model.onnx")
    return Job(contestant, folder / "model.onnx", None, options, {"x": X})


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "runtime",
    [
        "ort-cuda",
        "torch-cuda",
        pytest.param("ort-tensorrt", marks=pytest.mark.tensorrt),
        pytest.param("tensorrt", marks=pytest.mark.tensorrt),
        pytest.param("tensorrt-rtx", marks=pytest.mark.tensorrt),
    ],
)
def test_it_computes_and_has_all_times_that_can_be_told(runtime, graph, tmp_path, monkeypatch):
    require(runtime)
    monkeypatch.setenv("ND_DEPLOY_CACHE", str(tmp_path / "cache"))
    subject = open_device(job(runtime, tmp_path, graph), time.perf_counter_ns)
    try:
        (y,) = subject.outputs().values()
        truth = np.maximum(X.astype(np.float64) @ WEIGHT.astype(np.float64), 0)
        assert np.abs(y - truth).max() / np.abs(truth).max() < 1e-5
        subject.measure(20)
        samples = subject.measure(50)
        waits = runtime == "ort-tensorrt" or (runtime == "ort-cuda" and graph)
        by_events = set() if waits else {"compute", "enqueue"}
        assert samples.keys() == {"latency", "h2d", "d2h"} | by_events
        for seconds in samples.values():
            assert seconds.shape == (50,)
            assert (seconds > 0).all()
            assert np.isfinite(seconds).all()
    finally:
        subject.close()

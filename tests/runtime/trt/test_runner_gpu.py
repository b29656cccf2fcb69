"""The runner with a real TensorRT on a real GPU, against float64."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat.cuda_torch import TorchCuda
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.tensorrt.building.request import BuildRequest
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.engines import engine_for
from nd_deploy.runtime.tensorrt.kept.engine_cache import EngineCache
from nd_deploy.runtime.tensorrt.profile import Profile, Range
from nd_deploy.runtime.tensorrt.running.buffers import Event
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner

pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt]

CHANNELS = 24
RNG = np.random.default_rng(3)
WEIGHT = RNG.standard_normal((16, CHANNELS, 1, 1)).astype(np.float32)
PROFILES = tuple(
    Profile({"x": Range(*((size, CHANNELS, 9, 7) for size in sizes))})
    for sizes in ((1, 1, 4), (2, 32, 32))
)


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def engine(request, tmp_path_factory):
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU: {found.reason}")
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    model = save_model(folder / "model.onnx")
    wanted = BuildRequest(model, request.param, profiles=PROFILES)
    cache = EngineCache(folder / "cache")
    made = engine_for(wanted, folder / "model.engine", cache).stored
    try:
        TensorRTRunner(made)
    except BackendError as error:
        # Its list of GPUs is shorter than TensorRT's.
        if request.param == "tensorrt_rtx" and "built for another GPU" in error.problem:
            pytest.skip(f"TensorRT-RTX does not support this GPU: {error.problem}")
        raise
    return made


def save_model(path: Path) -> Path:
    """y = max(W x, 0) at each pixel."""
    shape = ["batch", CHANNELS, 9, 7]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["product"], kernel_shape=[1, 1]),
            helper.make_node("Relu", ["product"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 16, 9, 7])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def batch(size):
    return RNG.standard_normal((size, CHANNELS, 9, 7)).astype(np.float32)


def expected(x):
    product = np.einsum("oc,nchw->nohw", WEIGHT[:, :, 0, 0].astype(float), x.astype(float))
    return np.maximum(product, 0)


def close(found, x):
    return np.allclose(found, expected(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("graph", [False, True])
def test_outputs_are_those_of_float64(engine, graph):
    with TensorRTRunner(engine, cuda_graph=graph) as runner:
        for size in (1, 3, 1, 32, 3):
            x = batch(size)
            assert close(runner.run({"x": x})["y"], x)
        assert runner.receipt.tf32 is False


def test_pytorch_will_do_in_place_of_cuda_bindings(engine, monkeypatch):
    torch = pytest.importorskip("torch")
    if torch.version.cuda is None:
        pytest.skip("this PyTorch is built for the CPU")
    monkeypatch.setattr(cuda_compat, "find", lambda: TorchCuda(torch))
    x = batch(2)
    for graph in (False, True):
        assert close(TensorRTRunner(engine, cuda_graph=graph).run({"x": x})["y"], x)


@pytest.mark.parametrize("graph", [False, True])
def test_a_prepared_run_can_be_timed(engine, graph):
    x = batch(8)
    runner = TensorRTRunner(engine, cuda_graph=graph)
    with (
        runner.prepare({"x": x}) as prepared,
        Event(runner._cuda) as start,
        Event(runner._cuda) as end,
    ):
        began = time.perf_counter()
        start.record(prepared.stream)
        for _ in range(50):
            prepared.enqueue()
        end.record(prepared.stream)
        end.synchronise()
        passed = 1000 * (time.perf_counter() - began)
        assert 0 < end.ms_since(start) <= passed + 1
        assert close(prepared.download()["y"], x)


def test_shapes_outside_every_profile_are_refused(engine):
    with pytest.raises(InputError, match="profile 1: 'x' from"):
        TensorRTRunner(engine).run({"x": batch(33)})


def test_memory_is_given_back(engine):
    runner = TensorRTRunner(engine)
    runner.run({"x": batch(1)})
    runner.close()
    before, _ = runner._cuda.memory()
    for size in (1, 8, 32):
        with TensorRTRunner(engine, probe=False) as another:
            another.run({"x": batch(size)})
    after, _ = runner._cuda.memory()
    assert before - after < 64 << 20

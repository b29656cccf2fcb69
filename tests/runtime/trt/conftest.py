"""A runner on a fake TensorRT and a fake GPU."""

import pytest
from engine_keys import KEY
from fake_cuda import FakeCuda
from stand_in_tensorrt import FakeTensorRT, plan

from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.compat import trt as trt_compat
from nd_deploy.runtime.tensorrt.kept.engine_file import write_engine
from nd_deploy.runtime.tensorrt.running import engine_loading
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner


@pytest.fixture
def cuda(monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setattr(cuda_compat, "find", lambda: cuda)
    return cuda


@pytest.fixture
def trt(monkeypatch, cuda):
    module = FakeTensorRT(cuda)
    monkeypatch.setattr(trt_compat, "load", lambda asked=None: module)
    monkeypatch.setattr(engine_loading, "_LOADED", set())
    return module


@pytest.fixture
def make_runner(trt, tmp_path):
    """(key, options of the runner, facts of the engine) to a runner."""

    def make(key=KEY, options=(), **facts):
        stored = write_engine(tmp_path / "net.engine", plan(**facts), key, {})
        return TensorRTRunner(stored, probe=False, **dict(options))

    return make

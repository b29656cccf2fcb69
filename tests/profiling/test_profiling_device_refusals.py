"""Without a GPU: what is said of it, by the runtimes that are really here."""

import time
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import parser

from nd_deploy.errors import BackendError, InputError
from nd_deploy.profiling.contestant import ON_GPU, Contestant
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.device_opening import open_device
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.device import Device, find_device

without_gpu = pytest.mark.skipif(isinstance(find_device(), Device), reason="there is a GPU here")


@pytest.fixture
def job(tmp_path):
    def make(runtime, **options):
        text = (
            '<ir_version: 10, opset_import: ["": 21]>'
            "g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, x) }"
        )
        onnx.save(parser.parse_model(text), tmp_path / "model.onnx")
        feeds = {"x": np.ones((2, 3), np.float32)}
        network = SimpleNamespace(load=lambda: torch.nn.Identity())
        contestant = Contestant("net", runtime, 2)
        if runtime == "torch-cuda":
            return Job(contestant, None, network, RunOptions(**options), feeds)
        return Job(contestant, tmp_path / "model.onnx", None, RunOptions(**options), feeds)

    return make


@without_gpu
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("runtime", ON_GPU)
def test_no_gpu_is_an_error_with_a_remedy(job, runtime, graph):
    with pytest.raises(BackendError) as caught:
        open_device(job(runtime, cuda_graph=graph), time.perf_counter_ns)
    assert caught.value.exit_code == 3
    assert caught.value.problem
    assert caught.value.remedy


@without_gpu
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_engines_name_the_driver(job, runtime):
    with pytest.raises(BackendError, match="no GPU can be used: ") as caught:
        open_device(job(runtime), time.perf_counter_ns)
    assert "GPU" in caught.value.remedy or "driver" in caught.value.remedy


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built for CUDA")
def test_a_pytorch_for_the_processor_says_so(job):
    with pytest.raises(BackendError, match="is built without CUDA") as caught:
        open_device(job("torch-cuda"), time.perf_counter_ns)
    assert "--runtime torch" in caught.value.remedy


@pytest.mark.parametrize("runtime", ["ort-cuda", "ort-tensorrt"])
def test_options_that_mean_nothing_are_refused_before_anything_is_opened(job, runtime):
    with pytest.raises(InputError, match="--precision means nothing"):
        open_device(job(runtime, precision="float16"), time.perf_counter_ns)

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from nd_deploy.compat import cuda
from nd_deploy.compat.cuda_bindings import BindingsCuda
from nd_deploy.compat.cuda_torch import TorchCuda
from nd_deploy.errors import BackendError, MissingDependencyError
from nd_deploy.runtime.tensorrt.running.buffers import DeviceBuffer, HostBuffer, Stream


class TorchOnTheCpu:
    """PyTorch whose GPU is the processor, and whose work is done at once."""

    __version__ = "2.13"
    version = SimpleNamespace(cuda="13.0")
    uint8 = torch.uint8

    def __init__(self):
        self.cuda = self
        self.OutOfMemoryError = torch.cuda.OutOfMemoryError
        self.largest = 1 << 20
        self.current = None

    def empty(self, size, dtype, device=None, pin_memory=False):
        if device == "cuda" and size > self.largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(size, dtype=dtype)

    def mem_get_info(self):
        return self.largest, 1 << 21

    def get_device_properties(self, device):
        return SimpleNamespace(L2_cache_size=(device + 1) << 20)

    def Stream(self):  # noqa: N802 - PyTorch's own names
        return SimpleNamespace(cuda_stream=99)

    def ExternalStream(self, number):  # noqa: N802
        assert number == 99
        return SimpleNamespace(number=number, synchronize=lambda: None)

    @contextmanager
    def stream(self, stream):
        self.current = stream
        yield
        self.current = None

    def set_device(self, device):
        if device:
            raise RuntimeError("CUDA error: invalid device ordinal")


class TestTorch:
    def test_copies_go_there_and_back(self):
        cuda = TorchCuda(TorchOnTheCpu())
        given = np.arange(5, dtype=np.float32)
        with (
            Stream(cuda) as stream,
            HostBuffer(cuda, 32, "in") as sent,
            DeviceBuffer(cuda, 32, "there") as there,
            HostBuffer(cuda, 32, "out") as got,
        ):
            sent.array(given.dtype, (5,))[...] = given
            cuda.copy_to_device(there.address, sent.address, 20, stream.handle)
            cuda.copy_to_host(got.address, there.address, 20, stream.handle)
            stream.synchronise()
            assert np.array_equal(got.array(given.dtype, (5,)), given)
        assert cuda._kept == {}

    def test_memory_is_filled_and_copied_on_the_gpu(self):
        cuda = TorchCuda(TorchOnTheCpu())
        with (
            Stream(cuda) as stream,
            DeviceBuffer(cuda, 4, "one") as one,
            DeviceBuffer(cuda, 4, "other") as other,
            HostBuffer(cuda, 4, "out") as got,
        ):
            cuda.fill(one.address, 255, 3, stream.handle)
            cuda.copy_on_device(other.address, one.address, 2, stream.handle)
            for buffer, expected in ((one, [255, 255, 255, 0]), (other, [255, 255, 0, 0])):
                cuda.copy_to_host(got.address, buffer.address, 4, stream.handle)
                assert got.array(np.dtype(np.uint8), (4,)).tolist() == expected

    def test_the_cache_is_asked_of_the_gpu_that_is_meant(self):
        assert TorchCuda(TorchOnTheCpu()).l2_bytes(2) == 3 << 20

    def test_memory_that_is_too_little_is_told_in_numbers(self):
        with pytest.raises(BackendError) as caught:
            TorchCuda(TorchOnTheCpu()).allocate(2_000_000, "input 'x'")
        assert "'x': 2.0 MB are needed, 1.0 MB of 2.1 MB are free" in caught.value.problem

    def test_one_stream_may_be_handed_out_twice(self):
        cuda = TorchCuda(TorchOnTheCpu())
        with Stream(cuda) as first, Stream(cuda):
            pass
        assert first.closed

    def test_errors_are_told_in_pytorchs_words(self):
        with pytest.raises(BackendError, match="use GPU 3: RuntimeError: CUDA error: invalid"):
            TorchCuda(TorchOnTheCpu()).use_device(3)

    @pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built for CUDA")
    def test_a_build_for_the_cpu_says_so(self):
        with pytest.raises(BackendError, match="not compiled with CUDA"):
            TorchCuda(torch).device_count()

    def test_the_runtimes_version_is_cudas_number(self):
        assert TorchCuda(TorchOnTheCpu()).versions() == (None, 13000)


class TestFinding:
    def test_cuda_bindings_come_first(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", SimpleNamespace())
        assert isinstance(cuda.find(), BindingsCuda)

    def test_the_forerunner_will_do(self, monkeypatch):
        self.absent(monkeypatch, "cuda.bindings.runtime")
        monkeypatch.setitem(sys.modules, "cuda.cudart", SimpleNamespace())
        assert isinstance(cuda.find(), BindingsCuda)

    def test_pytorch_will_do_if_it_is_built_for_cuda(self, monkeypatch):
        self.absent(monkeypatch, "cuda.bindings.runtime", "cuda.cudart")
        monkeypatch.setitem(sys.modules, "torch", TorchOnTheCpu())
        assert isinstance(cuda.find(), TorchCuda)

    def test_neither(self, monkeypatch):
        self.absent(monkeypatch, "cuda.bindings.runtime", "cuda.cudart", "torch")
        with pytest.raises(MissingDependencyError) as caught:
            cuda.find()
        assert "pip install" in caught.value.remedy

    def test_what_is_broken_is_told(self, monkeypatch):
        self.absent(monkeypatch, "cuda.bindings.runtime", "cuda.cudart")
        # Without `version`.
        monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
        with pytest.raises(MissingDependencyError, match="AttributeError"):
            cuda.find()

    def absent(self, monkeypatch, *names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

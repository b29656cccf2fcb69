"""Both packages for CUDA have to do the same with a real GPU."""

import numpy as np
import pytest

from nd_deploy.compat.cuda_bindings import BindingsCuda
from nd_deploy.compat.cuda_torch import TorchCuda
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.running.buffers import (
    DeviceBuffer,
    Event,
    Graph,
    HostBuffer,
    Stream,
)

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["cuda-bindings", "torch"])
def real(request):
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU: {found.reason}")
    if request.param == "torch":
        torch = pytest.importorskip("torch")
        if torch.version.cuda is None:
            pytest.skip("this PyTorch is built for the CPU")
        real = TorchCuda(torch)
    else:
        real = BindingsCuda(pytest.importorskip("cuda.bindings.runtime"))
    real.use_device(0)
    return real


def test_copies_graphs_and_times(real):
    given = np.random.default_rng(0).standard_normal((64, 33)).astype(np.float32)
    with (
        Stream(real) as stream,
        HostBuffer(real, given.nbytes, "in") as sent,
        DeviceBuffer(real, given.nbytes, "there") as there,
        HostBuffer(real, given.nbytes, "out") as got,
        Event(real) as start,
        Event(real) as end,
    ):
        staged = sent.array(given.dtype, given.shape)
        result = got.array(given.dtype, given.shape)

        def there_and_back():
            real.copy_to_device(there.address, sent.address, given.nbytes, stream.handle)
            real.copy_to_host(got.address, there.address, given.nbytes, stream.handle)

        with Graph(real, stream, there_and_back) as graph:
            for scale in (1, 2):
                staged[...] = given * np.float32(scale)
                start.record(stream)
                graph.launch(stream)
                end.record(stream)
                end.synchronise()
                assert np.array_equal(result, given * np.float32(scale))
                assert end.ms_since(start) > 0


def test_memory_is_filled_and_copied_on_the_gpu(real):
    size = 1 << 20
    with (
        Stream(real) as stream,
        DeviceBuffer(real, size, "one") as one,
        DeviceBuffer(real, size, "other") as other,
        HostBuffer(real, size, "out") as got,
    ):
        real.fill(one.address, 7, size, stream.handle)
        real.copy_on_device(other.address, one.address, size, stream.handle)
        real.copy_to_host(got.address, other.address, size, stream.handle)
        stream.synchronise()
        assert (got.array(np.dtype(np.uint8), (size,)) == 7).all()


def test_the_cache_is_of_some_size(real):
    assert 0 < real.l2_bytes(0) < 1 << 30


def test_too_much_memory(real):
    free, total = real.memory()
    assert 0 < free <= total
    with pytest.raises(BackendError, match="too little memory for a test"):
        real.allocate(2 * total, "a test")
    with DeviceBuffer(real, 1 << 20, "what fits"):
        pass

from enum import IntEnum
from types import SimpleNamespace

import pytest

from nd_deploy.compat.cuda_bindings import BindingsCuda
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.device import Device, find_device

HAS_GPU = isinstance(find_device(), Device)


class Error(IntEnum):
    cudaSuccess = 0  # noqa: N815 - CUDA's own names
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815


class Handle:
    """A stream, an event or a graph, as cuda-bindings gives them."""

    def __init__(self, number):
        self.number = number

    def __int__(self):
        return self.number


class FakeRuntime:
    """cuda.bindings.runtime, whose functions give back what they are told to."""

    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self, **results):
        self.results = results
        self.calls = []

    def __getattr__(self, name):
        if name in ("cudaDeviceAttr", "cudaMemcpyKind", "cudaStreamCaptureMode"):
            return SimpleNamespace(
                cudaDevAttrL2CacheSize="L2",
                cudaMemcpyHostToDevice="to the GPU",
                cudaMemcpyDeviceToHost="to the host",
                cudaMemcpyDeviceToDevice="on the GPU",
                cudaStreamCaptureModeThreadLocal="thread",
            )

        def function(*arguments):
            self.calls.append((name, *map(plain, arguments)))
            return self.results.get(name, (Error.cudaSuccess,))

        return function

    def cudaGetErrorName(self, error):  # noqa: N802
        return Error.cudaSuccess, error.name.encode()

    def cudaGetErrorString(self, error):  # noqa: N802
        return Error.cudaSuccess, b"in CUDA's words"


def plain(argument):
    return int(argument) if isinstance(argument, Handle) else argument


OK = Error.cudaSuccess


class TestBindings:
    def test_memory_that_is_too_little_is_told_in_numbers(self):
        runtime = FakeRuntime(
            cudaMalloc=(Error.cudaErrorMemoryAllocation, None),
            cudaMemGetInfo=(OK, 10**9, 8 * 10**9),
        )
        with pytest.raises(BackendError) as caught:
            BindingsCuda(runtime).allocate(3 * 10**9, "input 'x'")
        assert "'x': 3.0 GB are needed, 1.0 GB of 8.0 GB are free" in caught.value.problem
        # Otherwise whoever asks for the last error next would get this one.
        assert [name for name, *_ in runtime.calls].count("cudaGetLastError") == 1

    @pytest.mark.parametrize(
        ("error", "remedy"),
        [
            (Error.cudaErrorIllegalAddress, "start a new process"),
            (Error.cudaErrorStreamCaptureUnsupported, "without CUDA graphs"),
        ],
    )
    def test_errors_have_cudas_name_and_a_remedy(self, error, remedy):
        runtime = FakeRuntime(cudaStreamSynchronize=(error,))
        with pytest.raises(BackendError) as caught:
            BindingsCuda(runtime).synchronise(7)
        assert f"{error.name}: in CUDA's words" in caught.value.problem
        assert remedy in caught.value.remedy
        assert ("cudaGetLastError",) in runtime.calls

    def test_handles_are_whole_numbers(self):
        runtime = FakeRuntime(
            cudaStreamCreateWithFlags=(OK, Handle(11)),
            cudaEventCreate=(OK, Handle(12)),
            cudaMalloc=(OK, 13),
            cudaStreamEndCapture=(OK, Handle(14)),
            cudaGraphInstantiateWithFlags=(OK, Handle(15)),
        )
        cuda = BindingsCuda(runtime)
        made = [
            cuda.create_stream(),
            cuda.create_event(),
            cuda.allocate(1, "a test"),
            cuda.end_capture(11),
        ]
        assert made == [11, 12, 13, 15]
        assert all(type(number) is int for number in made)
        # What was recorded is no longer needed once it is a graph.
        assert runtime.calls[-1] == ("cudaGraphDestroy", 14)

    def test_a_graph_that_cannot_be_made_leaves_nothing(self):
        runtime = FakeRuntime(
            cudaStreamEndCapture=(OK, Handle(14)),
            cudaGraphInstantiateWithFlags=(Error.cudaErrorMemoryAllocation, None),
        )
        with pytest.raises(BackendError, match="make a graph"):
            BindingsCuda(runtime).end_capture(11)
        assert runtime.calls[-1] == ("cudaGraphDestroy", 14)

    def test_a_gpu_is_described(self):
        facts = SimpleNamespace(name=b"NVIDIA H200\0\0", major=9, minor=0)
        runtime = FakeRuntime(cudaGetDeviceProperties=(OK, facts))
        assert BindingsCuda(runtime).describe(0) == ("NVIDIA H200", (9, 0))

    def test_the_cache_is_asked_of_the_gpu_that_is_meant(self):
        runtime = FakeRuntime(cudaDeviceGetAttribute=(OK, 50 << 20))
        assert BindingsCuda(runtime).l2_bytes(3) == 50 << 20
        assert runtime.calls == [("cudaDeviceGetAttribute", "L2", 3)]

    def test_memory_is_filled_and_copied_in_the_stream(self):
        runtime = FakeRuntime()
        BindingsCuda(runtime).fill(16, 255, 8, 7)
        BindingsCuda(runtime).copy_on_device(32, 16, 8, 7)
        assert runtime.calls == [
            ("cudaMemsetAsync", 16, 255, 8, 7),
            ("cudaMemcpyAsync", 32, 16, 8, "on the GPU", 7),
        ]

    @pytest.mark.skipif(HAS_GPU, reason="a GPU lets these calls succeed")
    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            ("device_count", ()),
            ("describe", (0,)),
            ("l2_bytes", (0,)),
            ("use_device", (0,)),
            ("memory", ()),
            ("allocate", (8, "a test")),
            ("allocate_host", (8, "a test")),
            ("copy_to_device", (8, 8, 8, 0)),
            ("copy_to_host", (8, 8, 8, 0)),
            ("copy_on_device", (8, 8, 8, 0)),
            ("fill", (8, 0, 8, 0)),
            ("create_stream", ()),
            ("synchronise", (0,)),
            ("create_event", ()),
            ("record", (0, 0)),
            ("wait_for_event", (0,)),
            ("elapsed_ms", (0, 0)),
            ("begin_capture", (0,)),
            ("end_capture", (0,)),
            ("launch", (0, 0)),
        ],
    )
    def test_without_a_driver_every_call_says_so(self, function, arguments):
        runtime = pytest.importorskip("cuda.bindings.runtime")
        with pytest.raises(BackendError, match=r"cudaError(InsufficientDriver|NoDevice)") as caught:
            getattr(BindingsCuda(runtime), function)(*arguments)
        assert "driver" in caught.value.remedy or "GPU" in caught.value.remedy

    @pytest.mark.skipif(HAS_GPU, reason="there is no such memory to free")
    def test_freeing_reports_nothing(self):
        cuda = BindingsCuda(pytest.importorskip("cuda.bindings.runtime"))
        for free in ("free", "free_host", "free_stream", "free_event", "free_graph"):
            getattr(cuda, free)(0)

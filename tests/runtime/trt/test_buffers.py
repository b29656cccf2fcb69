import gc

import numpy as np
import pytest
from fake_cuda import FakeCuda

from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.running.buffers import (
    DeviceBuffer,
    Event,
    Graph,
    HostBuffer,
    Stream,
)

KINDS = {
    "device memory": lambda cuda: DeviceBuffer(cuda, 16, "a test"),
    "host memory": lambda cuda: HostBuffer(cuda, 16, "a test"),
    "a stream": Stream,
    "an event": Event,
}


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
class TestOwnership:
    def test_ends_with_the_block(self, cuda, make):
        with make(cuda) as owned:
            assert cuda.leaks
            assert not owned.closed
        assert owned.closed
        assert not cuda.leaks

    def test_ends_with_an_error(self, cuda, make):
        with pytest.raises(ValueError, match="in the block"), make(cuda):
            raise ValueError("in the block")
        assert not cuda.leaks

    def test_ends_once(self, cuda, make):
        owned = make(cuda)
        owned.close()
        owned.close()
        assert not cuda.leaks

    def test_ends_when_nothing_refers_to_it(self, cuda, make):
        owned = make(cuda)
        del owned
        gc.collect()
        assert not cuda.leaks


class TestMemory:
    def test_goes_to_the_gpu_and_back_in_the_order_of_the_stream(self, cuda):
        given = np.arange(6, dtype=np.float16).reshape(2, 3)
        with (
            Stream(cuda) as stream,
            HostBuffer(cuda, 20, "in") as sent,
            DeviceBuffer(cuda, 20, "there") as there,
            HostBuffer(cuda, 20, "out") as got,
        ):
            sent.array(given.dtype, given.shape)[...] = given
            cuda.copy_to_device(there.address, sent.address, given.nbytes, stream.handle)
            cuda.copy_to_host(got.address, there.address, given.nbytes, stream.handle)
            result = got.array(given.dtype, given.shape)
            assert not result.any()
            stream.synchronise()
            assert np.array_equal(result, given)

    def test_too_little_is_told_in_numbers(self, cuda):
        with DeviceBuffer(cuda, 600_000, "one"), pytest.raises(BackendError) as caught:
            DeviceBuffer(cuda, 700_000, "input 'x'")
        assert caught.value.problem == (
            "the GPU has too little memory for input 'x': 700.0 kB are needed, 448.6 kB of 1.0 MB "
            "are free"
        )
        assert caught.value.exit_code == 3

    def test_nothing_has_an_address_too(self, cuda):
        with DeviceBuffer(cuda, 0, "nothing") as buffer, HostBuffer(cuda, 0, "nothing") as host:
            assert buffer.address
            assert host.array(np.dtype("f4"), (0, 3)).shape == (0, 3)

    def test_an_array_that_does_not_fit_is_refused(self, cuda):
        with HostBuffer(cuda, 8, "x") as host, pytest.raises(ValueError, match="does not fit"):
            host.array(np.dtype("f4"), (3,))


def test_events_take_the_time_of_a_stream(cuda):
    with Stream(cuda) as stream, Event(cuda) as start, Event(cuda) as end:
        start.record(stream)
        end.record(stream)
        end.synchronise()
        assert end.ms_since(start) == 1.5


class TestGraphs:
    def test_work_is_recorded_once_and_done_at_each_launch(self, cuda):
        done = []
        with Stream(cuda) as stream:
            work = lambda: cuda.enqueue(stream.handle, lambda: done.append(1))  # noqa: E731
            with Graph(cuda, stream, work) as graph:
                stream.synchronise()
                assert done == []
                graph.launch(stream)
                graph.launch(stream)
                stream.synchronise()
                assert done == [1, 1]
        assert not cuda.leaks

    @pytest.mark.parametrize("ending_fails", [False, True])
    def test_a_stream_stops_to_record_when_the_work_fails(self, cuda, ending_fails):
        def work():
            raise ValueError("the work")

        with Stream(cuda) as stream:
            if ending_fails:
                cuda.fails.add("end_capture")
            with pytest.raises(ValueError, match="the work"):
                Graph(cuda, stream, work)
            stream.synchronise()
        assert not cuda.leaks

    def test_what_cannot_be_recorded_is_an_error(self, cuda):
        cuda.fails.add("begin_capture")
        with Stream(cuda) as stream, pytest.raises(BackendError, match="cudaErrorLaunchFailure"):
            Graph(cuda, stream, lambda: None)
        assert not cuda.leaks

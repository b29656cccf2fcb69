import numpy as np
import pytest
from simulated_gpu import COMPUTE, DOWNLOAD, LAUNCH, UPLOAD, ScriptedRun, SimulatedCuda

from nd_deploy.errors import BackendError
from nd_deploy.profiling.subjects.device import (
    GRAPHS_IN_FLIGHT,
    IN_FLIGHT,
    DeviceSubject,
)
from nd_deploy.profiling.subjects.device_memory import MemoryMark

RUNS = 25


class Waiting(ScriptedRun):
    waits = True


def make(cuda, run=None, **options):
    return DeviceSubject(
        run or ScriptedRun(cuda),
        cuda,
        cuda.host_time,
        device=0,
        before=options.pop("before", MemoryMark(resident=0, free=cuda.memory()[0])),
        **options,
    )


def assert_all(samples, nanoseconds):
    assert samples.shape == (RUNS,)
    assert samples.dtype == np.float64
    np.testing.assert_allclose(samples, nanoseconds / 1e9, rtol=1e-12)


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("in_flight", [IN_FLIGHT, GRAPHS_IN_FLIGHT])
class TestTimes:
    def test_compute_is_the_gpus_time_enqueue_the_hosts_and_latency_both(self, cold, in_flight):
        cuda = SimulatedCuda()
        samples = make(cuda, cold_l2=cold, in_flight=in_flight).measure(RUNS)
        assert_all(samples["compute"], COMPUTE)
        assert_all(samples["enqueue"], LAUNCH)
        assert_all(samples["latency"], LAUNCH + COMPUTE)

    def test_copies_are_timed_apart_with_no_run_between(self, cold, in_flight):
        cuda = SimulatedCuda()
        run = ScriptedRun(cuda)
        samples = make(cuda, run, cold_l2=cold, in_flight=in_flight).measure(RUNS)
        assert_all(samples["h2d"], UPLOAD)
        assert_all(samples["d2h"], DOWNLOAD)
        # One more than is counted fills the queue.
        order = ["enqueue"] * RUNS
        for step in ("enqueue", "upload", "download"):
            order += [step] * (RUNS + 1)
        assert run.steps == ["enter", *order, "leave"]


def test_launches_overlap_with_the_runs_before():
    cuda = SimulatedCuda()
    subject = make(cuda)
    before = cuda.now
    subject.measure(RUNS)
    alone = RUNS * (LAUNCH + COMPUTE)
    in_queue = LAUNCH + (RUNS + 1) * COMPUTE
    copies = (RUNS + 1) * (UPLOAD + DOWNLOAD)
    assert cuda.now - before == alone + in_queue + copies


@pytest.mark.parametrize("in_flight", [IN_FLIGHT, GRAPHS_IN_FLIGHT])
def test_no_more_runs_are_under_way_than_are_allowed(in_flight):
    cuda = SimulatedCuda(launch=100)
    events = []
    create = cuda.create_event
    cuda.create_event = lambda: events.append(create()) or events[-1]
    make(cuda, in_flight=in_flight).measure(100)
    assert cuda.most == in_flight
    # For runs, for uploads and for downloads, a start and an end each.
    assert len(events) == 3 * 2 * in_flight


def test_a_gpu_that_waits_for_launches_shows_it():
    cuda = SimulatedCuda(launch=4 * COMPUTE)
    samples = make(cuda).measure(RUNS)
    assert_all(samples["enqueue"], 4 * COMPUTE)
    # From the end of the run before on, which is when its first event happens.
    assert_all(samples["compute"], 4 * COMPUTE)


def test_one_iteration_is_enough():
    cuda = SimulatedCuda()
    samples = make(cuda).measure(1)
    assert {metric: seconds.tolist() for metric, seconds in samples.items()} == {
        "latency": [pytest.approx((LAUNCH + COMPUTE) / 1e9)],
        "compute": [pytest.approx(COMPUTE / 1e9)],
        "enqueue": [pytest.approx(LAUNCH / 1e9)],
        "h2d": [pytest.approx(UPLOAD / 1e9)],
        "d2h": [pytest.approx(DOWNLOAD / 1e9)],
    }


def test_a_call_that_waits_for_the_gpu_has_a_latency_and_copies_alone():
    cuda = SimulatedCuda()
    samples = make(cuda, Waiting(cuda), cold_l2=True).measure(RUNS)
    assert list(samples) == ["latency", "h2d", "d2h"]
    assert_all(samples["latency"], LAUNCH + COMPUTE)


class TestColdCache:
    def test_twice_the_cache_is_overwritten_before_every_iteration(self):
        cuda = SimulatedCuda()
        subject = make(cuda, cold_l2=True)
        subject.measure(RUNS)
        # The latency, and three queues with one more than is counted.
        assert len(cuda.fills) == RUNS + 3 * (RUNS + 1)
        assert {size for _, size in cuda.fills} == {2 * cuda.l2}
        subject.close()
        assert not cuda.leaks

    def test_a_warm_one_is_left_alone(self):
        cuda = SimulatedCuda()
        make(cuda).measure(RUNS)
        assert cuda.fills == []
        assert cuda.device == {}

    def test_one_of_unknown_size_is_refused(self):
        cuda = SimulatedCuda()
        cuda.l2 = 0
        with pytest.raises(BackendError, match="GPU 0 does not tell the size of its L2") as caught:
            make(cuda, cold_l2=True).measure(RUNS)
        assert caught.value.remedy == "measure with a warm cache"

    def test_what_it_takes_is_not_in_the_models_memory(self):
        cuda = SimulatedCuda()
        subject = make(cuda, cold_l2=True)
        subject.outputs()
        subject.measure(RUNS)
        assert subject.memory["device"] == 0


class TestOutputs:
    def test_inputs_are_there_before_the_run_and_outputs_after(self):
        cuda = SimulatedCuda()
        run = ScriptedRun(cuda)
        assert make(cuda, run).outputs() == {"y": np.array([2.0])}
        assert run.steps == ["enter", "upload", "enqueue", "download", "leave"]
        assert cuda.now == UPLOAD + LAUNCH + COMPUTE + DOWNLOAD

    def test_memory_is_what_opening_and_the_first_run_took(self):
        cuda = SimulatedCuda()
        mark = MemoryMark(resident=0, free=cuda.memory()[0])
        cuda.allocate(4096, "the engine")
        subject = make(cuda, before=mark)
        assert subject.memory == {}
        subject.outputs()
        cuda.allocate(512, "somebody else")
        subject.outputs()
        assert subject.memory["device"] == 4096
        assert subject.memory["activations"] == 7
        assert subject.memory["host"] > 1 << 20

    def test_memory_that_was_freed_meanwhile_is_no_negative_number(self):
        cuda = SimulatedCuda()
        subject = make(cuda, before=MemoryMark(resident=1 << 60, free=0))
        subject.outputs()
        assert subject.memory == {"host": 0, "device": 0, "activations": 7}


# The 26th is the first of the queue.
@pytest.mark.parametrize("number", [1, RUNS, RUNS + 1, RUNS + 2, 2 * RUNS])
def test_a_failing_run_leaves_nothing(number):
    cuda = SimulatedCuda()
    subject = make(cuda, ScriptedRun(cuda, fails_at=number), cold_l2=True)
    with pytest.raises(BackendError, match="cudaErrorLaunchFailure"):
        subject.measure(RUNS)
    assert cuda.events == {}
    subject.close()
    assert not cuda.leaks


def test_a_failing_wait_leaves_nothing():
    cuda = SimulatedCuda()
    cuda.fails.add("wait_for_event")
    subject = make(cuda)
    with pytest.raises(BackendError, match="wait_for_event"):
        subject.measure(RUNS)
    subject.close()
    assert not cuda.leaks

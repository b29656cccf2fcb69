"""Peaks, with a clock that tells what it is told to."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from simulated_gpu import SimulatedCuda
from threadpoolctl import threadpool_info

from nd_deploy.errors import BackendError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.figures import COMPUTE, LATENCY
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.subjects.opening import open_subject
from nd_deploy.profiling.work import gemm
from nd_deploy.profiling.work.copying import device_copy_rate, host_copy_rate, last_cache
from nd_deploy.profiling.work.gemm import blas_rate
from nd_deploy.profiling.work.peaks import measure_peaks, what_peaks_depend_on
from nd_deploy.profiling.work.timing import least_seconds
from nd_deploy.runtime.options import RunOptions
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device

MIB = 2**20


def clock_of(*seconds):
    """A clock by which works take these times one after the other, and the last from then on."""
    times = itertools.chain(seconds, itertools.repeat(seconds[-1]))
    now = 0

    def clock():
        nonlocal now
        clock.calls += 1
        if clock.calls % 2 == 0:
            now += round(next(times) * 1e9)
        return now

    clock.calls = 0
    return clock


def job(runtime="ort-cpu", threads=None, **options):
    return Job(Contestant("net", runtime, 8, threads), Path("net.onnx"), None,
               RunOptions(**options), {})  # fmt: skip


class Multiplier:
    """A subject that takes known times."""

    def __init__(self, samples):
        self.samples, self.ran, self.closed = samples, False, False

    def outputs(self):
        self.ran = True
        return {}

    def measure(self, iterations):
        assert self.ran
        return {metric: np.full(iterations, time) for metric, time in self.samples.items()}

    def close(self):
        self.closed = True


class Opener:
    """Keeps what it was asked to open, and the model as it was then."""

    def __init__(self, **samples):
        self.subject = Multiplier(samples)

    def __call__(self, job):
        self.job = job
        self.model = None if job.model is None else onnx.load(job.model)
        return self.subject


def test_the_least_time_is_taken_of_as_many_runs_as_a_quarter_of_a_second_has_room_for():
    asked = []

    def timer(times):
        asked.append(times)
        return 0.02

    assert least_seconds(timer) == 0.02
    assert asked == [1, 12]
    asked.clear()
    least_seconds(lambda times: asked.append(times) or 10.0)
    least_seconds(lambda times: asked.append(times) or 1e-9)
    assert asked == [1, 3, 1, 50]


def test_the_rate_of_a_product_is_two_for_each_of_its_multiplications():
    rate, size = blas_rate("float32", 1, clock_of(0.025))
    assert size == 512
    assert rate.per_s == pytest.approx(2 * 512**3 / 0.025)
    assert rate.how == "product of two 512 x 512 matrices in float32, by numpy's BLAS"


def test_the_shortest_of_several_products_counts():
    rate, _ = blas_rate("float32", 1, clock_of(0.1, 0.1, 0.1, 0.2, 0.3, 0.15, 0.2))
    assert rate.per_s == pytest.approx(2 * 512**3 / 0.15)


@pytest.mark.parametrize(
    ("smallest", "size"),
    [(0.025, 512), (0.025 / 8, 1024), (0.025 / 4, 768), (1, 512), (1e-5, 2048)],
)
def test_matrices_are_so_large_that_a_product_takes_a_fortieth_of_a_second(
    smallest, size, monkeypatch
):
    monkeypatch.setattr(gemm, "matrix", lambda size, dtype, seed: np.zeros((1, 1)))
    _, chosen = blas_rate("float32", 1, clock_of(smallest, smallest, smallest, 0.1))
    assert chosen == size


def test_blas_is_given_as_many_threads_as_the_row_has():
    seen = []
    clock = clock_of(0.1)

    def looking():
        seen.extend(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")
        return clock()

    before = threadpool_info()
    blas_rate("float32", 2, looking)
    assert set(seen) == {2}
    assert threadpool_info() == before


def test_a_copy_counts_reading_and_writing_of_far_more_than_the_cache_holds():
    rate = host_copy_rate(2, clock_of(0.1), cache=17 * MIB)
    assert rate.per_s == pytest.approx(2 * 68 * MIB / 0.1)
    assert rate.how == "copy of 71.3 MB, on 2 threads"


def test_all_caches_of_the_last_level_count_and_each_of_them_once(tmp_path):
    caches = [
        (0, 0, "1", "0", "32K"),
        (0, 3, "3", "0-1", "16384K"),
        (1, 3, "3", "0-1", "16384K"),
        (2, 3, "3", "2-3", "8192K"),
        (2, 2, "2", "2", "1024K"),
    ]
    for cpu, index, level, shared, size in caches:
        folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("shared_cpu_list", shared), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert last_cache(tmp_path) == (16 + 8) * MIB


def test_a_machine_that_tells_no_caches_has_usual_ones(tmp_path):
    (tmp_path / "cpu0" / "cache" / "index0").mkdir(parents=True)
    assert last_cache(tmp_path) == 32 * MIB


def test_a_copy_on_the_gpu_is_timed_by_the_gpu():
    cuda = SimulatedCuda(compute=100_000_000, total=1 << 30)
    cuda.l2 = 20 * MIB
    rate = device_copy_rate(cuda, 1, cuda.host_time)
    assert rate.per_s == pytest.approx(2 * 80 * MIB / 0.1)
    assert rate.how == "copy of 83.9 MB on the GPU"
    assert cuda.log == ["use 1"]
    assert not cuda.leaks


def test_too_little_memory_on_the_gpu_is_said_and_nothing_is_kept():
    cuda = SimulatedCuda(total=100 * MIB)
    with pytest.raises(BackendError, match="measuring how fast it copies"):
        device_copy_rate(cuda, 0, cuda.host_time)
    assert not cuda.leaks


@pytest.mark.parametrize(
    ("own", "gemm_per_s", "by"),
    [(0.05, 2 * 512**3 / 0.05, "ort-cpu"), (0.2, 2 * 512**3 / 0.1, "numpy's BLAS")],
)
def test_on_a_processor_the_faster_of_blas_and_the_runtime_is_the_peak(own, gemm_per_s, by):
    opener = Opener(**{LATENCY: own})
    peaks = measure_peaks(job(threads=1), "float32", opener, clock=clock_of(0.1))
    assert peaks.gemm_flops_per_s == pytest.approx(gemm_per_s)
    assert peaks.gemm == f"product of two 512 x 512 matrices in float32, by {by}"
    assert peaks.copy.endswith("on 1 thread")
    assert opener.subject.closed
    assert onnx.checker.check_model(opener.model, full_check=True) is None


def test_the_runtime_multiplies_as_the_row_runs():
    opener = Opener(**{LATENCY: 0.05})
    row = job(threads=2, options={"threads": "2"})
    measure_peaks(row, "float16", opener, clock=clock_of(0.1))
    assert opener.job.options.options == {"threads": "2"}
    assert opener.job.contestant.threads == 2
    (array,) = opener.job.feeds.values()
    assert (array.dtype, array.shape) == (np.float16, (512, 512))
    (weight,) = opener.model.graph.initializer
    assert weight.data_type == onnx.TensorProto.FLOAT16


def on_gpu(row, dtype="float32", monkeypatch=None, **samples):
    monkeypatch.setattr("nd_deploy.profiling.work.peaks.ON_GPU_SIZE", 64)
    cuda = SimulatedCuda(compute=100_000_000, total=1 << 30)
    opener = Opener(**samples)
    peaks = measure_peaks(row, dtype, opener, clock=cuda.host_time, cuda=cuda)
    return peaks, opener


def test_on_a_gpu_its_own_time_is_taken(monkeypatch):
    row = job("ort-cuda", tf32=True)
    peaks, _ = on_gpu(row, monkeypatch=monkeypatch, **{LATENCY: 0.2, COMPUTE: 0.1})
    assert peaks.gemm_flops_per_s == pytest.approx(2 * 64**3 / 0.1)
    assert peaks.gemm == "product of two 64 x 64 matrices in float32 with TF32, by ort-cuda"


def test_on_a_gpu_the_precision_of_the_engine_is_the_rows(monkeypatch):
    row = job("tensorrt", precision="float16", batch="1:8", shapes=("x=1:2:3",),
              engine=Path("an.engine"), plugins=(Path("lib.so"),), cuda_graph=True)  # fmt: skip
    peaks, opener = on_gpu(row, monkeypatch=monkeypatch, **{LATENCY: 0.1})
    assert peaks.gemm == "product of two 64 x 64 matrices in float16, by tensorrt"
    assert opener.job.options == RunOptions(precision="float16")


def test_pytorch_multiplies_in_a_layer(monkeypatch):
    peaks, opener = on_gpu(job("torch-cuda"), "int8", monkeypatch, **{LATENCY: 0.1})
    assert "in float32, by torch-cuda" in peaks.gemm
    assert opener.model is None
    layer = opener.job.network.load()
    assert (layer.weight.shape, layer.bias, layer.training) == ((64, 64), None, False)


def test_rows_share_peaks_unless_something_differs_that_these_depend_on():
    one = what_peaks_depend_on(job("ort-cuda"), "float32")
    other = Job(Contestant("naive", "ort-cuda", 1, cold_l2=True), None, None, RunOptions(), {})
    assert what_peaks_depend_on(other, "float32") == one
    for different in (
        job("tensorrt"),
        job("ort-cuda", tf32=True),
        job("ort-cuda", options={"a": "b"}),
    ):
        assert what_peaks_depend_on(different, "float32") != one
    assert what_peaks_depend_on(job("ort-cuda"), "float16") != one
    assert what_peaks_depend_on(job(threads=1), "") != what_peaks_depend_on(job(threads=2), "")


def test_real_peaks_are_numbers():
    row = job(threads=1, options={"threads": "1"})
    peaks = measure_peaks(row, "float32", open_subject)
    # A processor that does less than a hundred million operations a second is none of today.
    assert 1e8 < peaks.gemm_flops_per_s < 1e16
    assert 1e8 < peaks.copy_bytes_per_s < 1e14


@pytest.mark.gpu
def test_real_peaks_of_a_gpu_are_numbers():
    found = find_device()
    if isinstance(found, NoDevice):
        pytest.skip(f"no GPU: {found.reason}")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDAExecutionProvider")
    peaks = measure_peaks(job("ort-cuda"), "float32", open_subject)
    assert 1e11 < peaks.gemm_flops_per_s < 1e17
    assert 1e10 < peaks.copy_bytes_per_s < 1e14

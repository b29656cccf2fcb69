"""The emulator that kernels are tested with: barriers, shuffles, copies and matrix products."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import emulated
import numpy as np
import pytest
from emulated import Library, Order

SOURCE = r"""
#include "primitives.cuh"

#define EXPORT extern "C" __attribute__((visibility("default")))

template <bool kBarrier>
__global__ void reverse(int* values) {
  __shared__ int tile[96];
  tile[threadIdx.x] = values[threadIdx.x];
  if (kBarrier) __syncthreads();
  values[threadIdx.x] = tile[95 - threadIdx.x];
}
EXPORT void reverse_with_barrier(int* values) { nd::launch(reverse<true>, 1, 96, 0, 0, values); }
EXPORT void reverse_without(int* values) { nd::launch(reverse<false>, 1, 96, 0, 0, values); }

template <bool kWait>
__global__ void stage(float const* from, float* to) {
  auto* tile = nd::dynamic_shared<float>();
  nd::copy_async<16>(tile + 4 * threadIdx.x, from + 4 * threadIdx.x, threadIdx.x != 3);
  nd::copy_async_commit();
  if (kWait) nd::copy_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) to[4 * threadIdx.x + i] = tile[4 * threadIdx.x + i];
}
EXPORT void stage_with_wait(float const* from, float* to) {
  nd::launch(stage<true>, 1, 32, 512, 0, from, to);
}
EXPORT void stage_without(float const* from, float* to) {
  nd::launch(stage<false>, 1, 32, 512, 0, from, to);
}

__global__ void sums(int* to) {
  int sum = threadIdx.x;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  int const below = __shfl_up_sync(~0u, static_cast<int>(threadIdx.x), 1);
  if (threadIdx.x % 32 == 5) atomicAdd(to, sum);
  to[1 + blockIdx.x * blockDim.x + threadIdx.x] = below;
}
EXPORT void warp_sums(int* to) { nd::launch(sums, dim3(2), dim3(64), 0, 0, to); }

__global__ void diverge() { if (threadIdx.x < 7) __syncwarp(); else __syncthreads(); }
EXPORT void deadlock() { nd::launch(diverge, 1, 32, 0, 0); }

__global__ void tf32(float const* a, float const* b, float* d) {
  int const g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned const left[4] = {nd::to_tf32(a[g * 8 + t]), nd::to_tf32(a[(g + 8) * 8 + t]),
                            nd::to_tf32(a[g * 8 + t + 4]), nd::to_tf32(a[(g + 8) * 8 + t + 4])};
  unsigned const right[2] = {nd::to_tf32(b[t * 8 + g]), nd::to_tf32(b[(t + 4) * 8 + g])};
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  nd::mma_tf32(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}
EXPORT void product_tf32(float const* a, float const* b, float* d) {
  nd::launch(tf32, 1, 32, 0, 0, a, b, d);
}

template <bool kBfloat16>
__global__ void sixteen_bits(float const* a, float const* b, float* d) {
  int const g = threadIdx.x / 4, t = threadIdx.x % 4;
  auto pack = [](float first, float second) {
    return kBfloat16 ? nd::pack_bf16(first, second) : nd::pack_f16(first, second);
  };
  unsigned left[4], right[2];
  for (int i = 0; i < 4; ++i) {
    float const* from = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
    left[i] = pack(from[0], from[1]);
  }
  for (int i = 0; i < 2; ++i) {
    float const* from = b + (2 * t + 8 * i) * 8 + g;
    right[i] = pack(from[0], from[8]);
  }
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  kBfloat16 ? nd::mma_bf16(sum, left, right) : nd::mma_f16(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}
EXPORT void product_f16(float const* a, float const* b, float* d) {
  nd::launch(sixteen_bits<false>, 1, 32, 0, 0, a, b, d);
}
EXPORT void product_bf16(float const* a, float const* b, float* d) {
  nd::launch(sixteen_bits<true>, 1, 32, 0, 0, a, b, d);
}

EXPORT void round_trip(float const* from, unsigned short* half, unsigned short* bfloat,
                       float* back, int count) {
  for (int i = 0; i < count; ++i) {
    half[i] = __half_as_ushort(nd::from_float<__half>(from[i]));
    bfloat[i] = __bfloat16_as_ushort(nd::from_float<__nv_bfloat16>(from[i]));
    back[2 * i] = nd::to_float(__ushort_as_half(half[i]));
    back[2 * i + 1] = nd::to_float(__ushort_as_bfloat16(bfloat[i]));
  }
}
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    source = tmp_path_factory.mktemp("emulator") / "kernels.cu"
    source.write_text(SOURCE)
    return Library(emulated.build(tmp_path_factory, source))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("order", Order)
def test_a_barrier_shows_a_block_what_all_its_threads_wrote(library, order):
    values = np.arange(96, dtype=np.int32)
    with library.order(order, seed=3):
        library.functions.reverse_with_barrier(pointer(values))
    np.testing.assert_array_equal(values, np.arange(96)[::-1])


def test_a_missing_barrier_makes_the_result_depend_on_the_order(library):
    results = []
    for order in (Order.FORWARD, Order.REVERSE):
        values = np.arange(96, dtype=np.int32)
        with library.order(order):
            library.functions.reverse_without(pointer(values))
        results.append(values)
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize("order", Order)
def test_an_asynchronous_copy_has_arrived_when_it_was_waited_for(library, order):
    source = np.arange(128, dtype=np.float32)
    target = np.zeros(128, np.float32)
    with library.order(order):
        library.functions.stage_with_wait(pointer(source), pointer(target))
    expected = source.copy()
    expected[12:16] = 0  # the copy that was not valid
    np.testing.assert_array_equal(target, expected)


def test_an_asynchronous_copy_that_nobody_waits_for_leaves_nan_in_reverse_order(library):
    source = np.arange(128, dtype=np.float32)
    target = np.zeros(128, np.float32)
    with library.order(Order.REVERSE):
        library.functions.stage_without(pointer(source), pointer(target))
    assert np.isnan(target).all()


@pytest.mark.parametrize("order", Order)
def test_shuffles_and_atomics_work_within_and_across_warps(library, order):
    values = np.zeros(129, np.int32)
    with library.order(order, seed=1):
        library.functions.warp_sums(pointer(values))
    assert values[0] == 2 * sum(range(64))
    lanes = np.arange(64)
    below = np.where(lanes % 32 == 0, lanes, lanes - 1)
    np.testing.assert_array_equal(values[1:], np.tile(below, 2))


def test_threads_that_wait_for_each_other_at_different_barriers_are_reported(library):
    script = "import sys, emulated; emulated.Library(sys.argv[1]).functions.deadlock()"
    done = subprocess.run(
        [sys.executable, "-c", script, str(library.path)],
        cwd=emulated.HERE,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "deadlock" in done.stderr


@pytest.mark.parametrize(
    ("name", "depth", "kept_bits"),
    [("product_tf32", 8, 11), ("product_f16", 16, 11), ("product_bf16", 16, 8)],
)
def test_a_matrix_product_equals_the_float64_product_of_the_rounded_operands(
    library, name, depth, kept_bits
):
    rng = np.random.default_rng(0)
    # Integers that the type holds exactly, so that the expectation needs no rounding of its own.
    limit = 2 ** (kept_bits - 1)
    a = rng.integers(-limit, limit, (16, depth)).astype(np.float32)
    b = rng.integers(-limit, limit, (depth, 8)).astype(np.float32)
    start = rng.integers(-limit, limit, (16, 8)).astype(np.float32)
    d = start.copy()
    getattr(library.functions, name)(pointer(a), pointer(b), pointer(d))
    exact = start.astype(np.float64) + a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert (np.abs(d - exact) <= magnitude * 2.0**-22).all()
    small_a, small_b = a % 8, b % 8
    d = start.copy()
    getattr(library.functions, name)(pointer(small_a), pointer(small_b), pointer(d))
    np.testing.assert_array_equal(d, start + small_a @ small_b)


def test_a_matrix_product_passes_nan_and_infinity_on(library):
    a = np.ones((16, 16), np.float32)
    b = np.ones((16, 8), np.float32)
    b[3, 2], b[5, 4] = np.nan, np.inf
    d = np.zeros((16, 8), np.float32)
    library.functions.product_bf16(pointer(a), pointer(b), pointer(d))
    assert np.isnan(d[:, 2]).all()
    assert np.isposinf(d[:, 4]).all()
    assert np.isfinite(np.delete(d, (2, 4), axis=1)).all()


def test_conversions_to_16_bits_round_as_numpy_does(library):
    import ml_dtypes

    bits = np.random.default_rng(1).integers(0, 2**32, 20000, dtype=np.uint32)
    edges = np.array([65504, 65519.996, 65520, 2**-24, 2**-25, 2**-14, 1e-7, 0, -0.0, np.inf])
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values = np.concatenate([bits.view(np.float32), edges.astype(np.float32), halves])
    half, bfloat = np.empty((2, values.size), np.uint16)
    back = np.empty((values.size, 2), np.float32)
    library.functions.round_trip(
        pointer(values), pointer(half), pointer(bfloat), pointer(back), ctypes.c_int(values.size)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        expected_half = values.astype(np.float16)
        expected_bfloat = values.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(half.view(np.float16), expected_half)
    np.testing.assert_array_equal(
        bfloat.view(ml_dtypes.bfloat16).astype(np.float32), expected_bfloat.astype(np.float32)
    )
    np.testing.assert_array_equal(back[:, 0], expected_half.astype(np.float32))


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory):
    source = tmp_path_factory.mktemp("sanitized") / "kernels.cu"
    source.write_text(SOURCE)
    return emulated.build(tmp_path_factory, source, sanitize=True)


SANITIZED = """
import sys, numpy, ctypes, emulated
values = numpy.arange({size}, dtype=numpy.int32)
functions = emulated.Library(sys.argv[1]).functions
functions.reverse_with_barrier(ctypes.c_void_p(values.ctypes.data))
assert (values[:96] == numpy.arange(96)[::-1]).all()
"""


def test_the_address_sanitizer_accepts_fibers(sanitized):
    emulated.run_sanitized(sanitized, SANITIZED.format(size=96))


def test_the_address_sanitizer_reports_an_access_outside_of_an_array(sanitized):
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        emulated.run_sanitized(sanitized, SANITIZED.format(size=80))

// Sums over a warp and a block whose order of additions never changes.
#pragma once

#include <cuda_runtime.h>

namespace nd {

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  return value;
}

__device__ __forceinline__ float warp_min(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    value = fminf(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

// The sum over a block of whole warps, for all its threads. `scratch` is shared and holds a float a
// warp; it may be used again after the next barrier.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  int const warp = threadIdx.x / 32;
  float const sum = warp_sum(value);
  if (threadIdx.x % 32 == 0) {
    scratch[warp] = sum;
  }
  __syncthreads();
  float total = 0.0f;
  for (int other = 0; other < static_cast<int>(blockDim.x) / 32; ++other) {
    total += scratch[other];
  }
  return total;
}

// The sum of values[0 .. count - 1] for all threads of a block, as block_sum.
__device__ __forceinline__ float block_sum_of(float const* values, int count, float* scratch) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    sum += values[i];
  }
  return block_sum(sum, scratch);
}

}  // namespace nd

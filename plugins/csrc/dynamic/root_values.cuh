// An inverse root of split halves as plain float32 numbers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "newton_schulz.cuh"
#include "../primitives.cuh"
#include "split_half.cuh"

namespace nd {

constexpr int kRootThreads = 256;

static __global__ void __launch_bounds__(kRootThreads)
    root_values_kernel(SplitMatrix root, float root_scale, float const* norm, int features,
                       float* values) {
  std::int64_t const element = std::int64_t{blockIdx.x} * kRootThreads + threadIdx.x;
  if (element >= std::int64_t{features} * features) {
    return;
  }
  int const row = static_cast<int>(element / features);
  __half const* const from =
      root.rows + row * root.pitch + high_offset(static_cast<int>(element % features));
  values[element] = join_half({from[0], from[kPiece]}) * (root_scale / sqrtf(*norm));
}

// Writes the inverse root of a single matrix, (F, F).
inline int launch_root_values(NewtonSchulz const& iteration, int features, float* values,
                              cudaStream_t stream) {
  std::int64_t const blocks = divide_up(std::int64_t{features} * features, kRootThreads);
  return launch(root_values_kernel, dim3(static_cast<unsigned>(blocks)), dim3(kRootThreads), 0,
                stream, iteration.root(), iteration.root_scale(), iteration.norm, features, values);
}

}  // namespace nd

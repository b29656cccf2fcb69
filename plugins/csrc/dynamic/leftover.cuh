// The mean and the deviation of the channels that do not fill a block.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"
#include "samples.cuh"
#include "workspace.cuh"

namespace nd {

constexpr int kLeftoverThreads = 256;
constexpr int kLeftoverBlocks = 128;
constexpr int kValuesPerBlock = 4096;

// Every `step`-th value of the channels from `offset` on, counted within each image.
struct LeftoverLayout {
  std::int64_t image_size;
  std::int64_t offset;
  int values;
  int step;
  Divider per_image;  // values of an image
};

// Of each block's values how many there are, their mean and the sum of their squared distances
// from it, which add up without loss (Chan, Golub, LeVeque).
struct LeftoverParts {
  float* means;
  float* squares;
  int blocks;
};

inline LeftoverParts take_leftover_parts(Workspace& workspace, LeftoverLayout const& layout) {
  LeftoverParts parts{};
  parts.blocks =
      static_cast<int>(clamp(divide_up(layout.values, kValuesPerBlock), 1, kLeftoverBlocks));
  parts.means = workspace.take<float>(parts.blocks);
  parts.squares = workspace.take<float>(parts.blocks);
  return parts;
}

struct Range {
  int begin, end;
};

__device__ __forceinline__ Range leftover_range(LeftoverLayout const& layout, int block,
                                                int blocks) {
  return {static_cast<int>(std::int64_t{layout.values} * block / blocks),
          static_cast<int>(std::int64_t{layout.values} * (block + 1) / blocks)};
}

template <typename T>
__device__ __forceinline__ float leftover_value(T const* maps, LeftoverLayout const& layout,
                                                int index) {
  std::uint32_t const image = layout.per_image.quotient(index);
  std::int64_t const inside = index - image * layout.per_image.divisor();
  return to_float(maps[image * layout.image_size + layout.offset + inside * layout.step]);
}

template <typename T>
__global__ void __launch_bounds__(kLeftoverThreads)
    leftover_parts_kernel(T const* maps, LeftoverLayout layout, LeftoverParts parts) {
  __shared__ float scratch[2][kLeftoverThreads / 32];
  Range const range = leftover_range(layout, blockIdx.x, parts.blocks);
  float sum = 0.0f;
  for (int index = range.begin + threadIdx.x; index < range.end; index += kLeftoverThreads) {
    sum += leftover_value(maps, layout, index);
  }
  float const mean =
      block_sum(sum, scratch[0]) / static_cast<float>(range.end - range.begin);
  float square = 0.0f;
  for (int index = range.begin + threadIdx.x; index < range.end; index += kLeftoverThreads) {
    float const distance = leftover_value(maps, layout, index) - mean;
    square = fmaf(distance, distance, square);
  }
  square = block_sum(square, scratch[1]);
  if (threadIdx.x == 0) {
    parts.means[blockIdx.x] = mean;
    parts.squares[blockIdx.x] = square;
  }
}

// One block of kLeftoverBlocks threads: the mean, and 1 / sqrt(variance + eps).
static __global__ void __launch_bounds__(kLeftoverBlocks)
    leftover_kernel(LeftoverLayout layout, LeftoverParts parts, float eps, float* mean,
                    float* scale) {
  __shared__ float scratch[2][kLeftoverBlocks / 32];
  int const block = threadIdx.x;
  bool const part = block < parts.blocks;
  Range const range = part ? leftover_range(layout, block, parts.blocks) : Range{0, 0};
  float const count = static_cast<float>(range.end - range.begin);
  float const part_mean = part ? parts.means[block] : 0.0f;
  float const values = static_cast<float>(layout.values);
  float const total = block_sum(count * part_mean, scratch[0]) / values;
  float const distance = part_mean - total;
  float const square =
      part ? parts.squares[block] + count * distance * distance : 0.0f;
  float const squares = block_sum(square, scratch[1]);
  if (threadIdx.x == 0) {
    *mean = total;
    // Of a single value there is no variance: NaN, as in PyTorch.
    *scale = 1.0f / sqrtf(squares / (values - 1.0f) + eps);
  }
}

template <typename T>
int launch_leftover(T const* maps, LeftoverLayout const& layout, LeftoverParts const& parts,
                    float eps, float* mean, float* scale, cudaStream_t stream) {
  int const error = launch(leftover_parts_kernel<T>, dim3(parts.blocks), dim3(kLeftoverThreads), 0,
                           stream, maps, layout, parts);
  return error != 0 ? error
                    : launch(leftover_kernel, dim3(1), dim3(kLeftoverBlocks), 0, stream, layout,
                             parts, eps, mean, scale);
}

}  // namespace nd

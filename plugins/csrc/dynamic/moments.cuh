// The mean of every row of samples and how far they lie from it: the first look at a batch.
#pragma once

#include <cuda_runtime.h>

#include "arithmetic.cuh"
#include "reductions.cuh"
#include "samples.cuh"
#include "workspace.cuh"

namespace nd {

constexpr int kMomentThreads = 256;
constexpr int kMomentRows = 8;  // a block's; the place of a sample is worked out once for them
// The splits of a row are summed by one warp, a lane each.
constexpr int kMomentSplits = 32;
constexpr int kSamplesPerMomentSplit = 2048;

// Sums, least and greatest values, each (splits, rows).
struct MomentParts {
  float* sums;
  float* lows;
  float* highs;
  int rows;
  int splits;
};

inline MomentParts take_moment_parts(Workspace& workspace, SampleLayout const& layout) {
  MomentParts parts{};
  parts.rows = layout.rows();
  parts.splits = static_cast<int>(
      clamp(divide_up(layout.samples, kSamplesPerMomentSplit), 1, kMomentSplits));
  std::int64_t const count = std::int64_t{parts.rows} * parts.splits;
  parts.sums = workspace.take<float>(count);
  parts.lows = workspace.take<float>(count);
  parts.highs = workspace.take<float>(count);
  return parts;
}

struct Moments {
  float mean;
  float distance;  // an upper bound of |x - mean|
};

// The moments of a row, for all lanes of the calling warp.
__device__ __forceinline__ Moments warp_moments(MomentParts const& parts, int row, int samples) {
  int const lane = threadIdx.x % 32;
  bool const part = lane < parts.splits;
  int const at = part ? lane * parts.rows + row : row;
  float const sum = warp_sum(part ? parts.sums[at] : 0.0f);
  float const low = warp_min(parts.lows[at]);
  float const high = warp_max(parts.highs[at]);
  float const mean = sum / static_cast<float>(samples);
  return {mean, fmaxf(high - mean, mean - low)};
}

// Block (i, j): split j of rows 8 i to 8 i + 7.
template <typename T>
__global__ void __launch_bounds__(kMomentThreads)
    moments_kernel(T const* maps, SampleLayout layout, MomentParts parts) {
  constexpr int kWarps = kMomentThreads / 32;
  __shared__ float scratch[3][kMomentRows][kWarps];
  int const first = blockIdx.x * kMomentRows;
  int const begin = static_cast<int>(std::int64_t{layout.samples} * blockIdx.y / gridDim.y);
  int const end = static_cast<int>(std::int64_t{layout.samples} * (blockIdx.y + 1) / gridDim.y);

  float sums[kMomentRows], lows[kMomentRows], highs[kMomentRows];
#pragma unroll
  for (int row = 0; row < kMomentRows; ++row) {
    sums[row] = 0.0f;
    lows[row] = HUGE_VALF;
    highs[row] = -HUGE_VALF;
  }
  RowTaps<kMomentRows> taps(layout, first);
  for (int index = begin + threadIdx.x; index < end; index += kMomentThreads) {
    Sample const sample = layout.sample(index);
    taps.select(sample.shared);
#pragma unroll
    for (int row = 0; row < kMomentRows; ++row) {
      float const value = taps[row].value(maps, layout, sample);
      sums[row] += value;
      lows[row] = fminf(lows[row], value);
      highs[row] = fmaxf(highs[row], value);
    }
  }

#pragma unroll
  for (int row = 0; row < kMomentRows; ++row) {
    float const sum = warp_sum(sums[row]);
    float const low = warp_min(lows[row]);
    float const high = warp_max(highs[row]);
    if (threadIdx.x % 32 == 0) {
      scratch[0][row][threadIdx.x / 32] = sum;
      scratch[1][row][threadIdx.x / 32] = low;
      scratch[2][row][threadIdx.x / 32] = high;
    }
  }
  __syncthreads();
  int const row = threadIdx.x;
  if (row >= kMomentRows || first + row >= parts.rows) {
    return;
  }
  float sum = 0.0f, low = HUGE_VALF, high = -HUGE_VALF;
  for (int warp = 0; warp < kWarps; ++warp) {
    sum += scratch[0][row][warp];
    low = fminf(low, scratch[1][row][warp]);
    high = fmaxf(high, scratch[2][row][warp]);
  }
  std::int64_t const at = std::int64_t{blockIdx.y} * parts.rows + first + row;
  parts.sums[at] = sum;
  parts.lows[at] = low;
  parts.highs[at] = high;
}

template <typename T>
int launch_moments(T const* maps, SampleLayout const& layout, MomentParts const& parts,
                   cudaStream_t stream) {
  dim3 const grid(static_cast<unsigned>(divide_up(parts.rows, kMomentRows)), parts.splits);
  return launch(moments_kernel<T>, grid, dim3(kMomentThreads), 0, stream, maps, layout, parts);
}

}  // namespace nd

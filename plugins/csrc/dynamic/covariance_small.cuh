// The covariance of few features: float32 multiplications, straight from the activation.
//
// For up to 64 features, as grouped convolutions, 1 x 1 kernels and ChannelDeconv have, reading the
// samples costs more than multiplying them, and float32 additions round less than split products.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "covariance_parts.cuh"
#include "arithmetic.cuh"
#include "moments.cuh"
#include "../primitives.cuh"
#include "samples.cuh"

namespace nd {

constexpr int kSmallFeatures = 64;
constexpr int kQuad = 4;  // a thread multiplies four features by four
// Twice the quads' pairs on or above the diagonal, 136 of 64 features, in whole warps.
constexpr int kSmallThreads = 288;
constexpr int kSmallStageFloats = kSmallThreads * kQuad * kQuad;
constexpr int kSmallBlocks = 264;  // two for each multiprocessor of the largest GPUs
constexpr int kSmallSplits = 128;

// As many samples as fit a stage, a power of two that divides the threads that read them.
__host__ __device__ inline int small_stage_samples(int pitch) {
  int samples = 256;
  while (samples * pitch > kSmallStageFloats) {
    samples /= 2;
  }
  return samples;
}

inline CovarianceParts take_small_parts(Workspace& workspace, SampleLayout const& layout) {
  CovarianceParts parts{};
  parts.groups = layout.groups;
  parts.pitch = static_cast<int>(round_up(layout.features, kQuad));
  std::int64_t const stages =
      divide_up(layout.samples, small_stage_samples(parts.pitch));
  std::int64_t const wanted = divide_up(kSmallBlocks, layout.groups);
  parts.splits = static_cast<int>(clamp(wanted, 1, stages < kSmallSplits ? stages : kSmallSplits));
  parts.sums = workspace.take<float>(std::int64_t{parts.splits} * parts.groups * parts.pitch *
                                     parts.pitch);
  return parts;
}

namespace detail {

// Reads the samples from `first` on, fewer than a stage's at the end, less their means.
template <typename T>
__device__ __forceinline__ void read_stage(T const* maps, SampleLayout const& layout, int group,
                                           float const* means, int first, int end, int pitch,
                                           int stage_samples, float* stage) {
  constexpr int kReaders = 256;
  if (threadIdx.x >= kReaders) {
    return;
  }
  int const place = threadIdx.x % stage_samples;
  int const index = first + place;
  bool const there = index < end;
  Sample const sample = layout.sample(there ? index : first);
  for (int feature = threadIdx.x / stage_samples; feature < pitch;
       feature += kReaders / stage_samples) {
    bool const read = there && feature < layout.features;
    Tap const tap(layout, group * layout.features + (read ? feature : 0), sample.shared);
    stage[place * pitch + feature] =
        read ? tap.value(maps, layout, sample) - means[feature] : 0.0f;
  }
}

}  // namespace detail

// Block (i, g): split i of group g. With `centred` the mean is taken off; it is written either way.
template <typename T>
__global__ void __launch_bounds__(kSmallThreads)
    covariance_small_kernel(T const* maps, SampleLayout layout, MomentParts moments, bool centred,
                            float* mean, CovarianceParts parts) {
  __align__(16) __shared__ float stage[kSmallStageFloats];
  __shared__ float means[kSmallFeatures];
  int const group = blockIdx.y;
  int const pitch = parts.pitch;
  int const quads = pitch / kQuad;
  int const pairs = triangle(quads);
  int const depth_groups = kSmallThreads / pairs;
  int const depth_group = threadIdx.x / pairs;
  bool const multiplies = depth_group < depth_groups;
  TrianglePlace const pair = triangle_place(threadIdx.x % pairs, quads);

  for (int feature = threadIdx.x / 32; feature < layout.features; feature += kSmallThreads / 32) {
    int const row = group * layout.features + feature;
    float const value = warp_moments(moments, row, layout.samples).mean;
    if (threadIdx.x % 32 == 0) {
      means[feature] = centred ? value : 0.0f;
      if (blockIdx.x == 0) {
        mean[row] = value;
      }
    }
  }

  int const stage_samples = small_stage_samples(pitch);
  int const stages = (layout.samples + stage_samples - 1) / stage_samples;
  int const begin = static_cast<int>(std::int64_t{stages} * blockIdx.x / gridDim.x);
  int const end = static_cast<int>(std::int64_t{stages} * (blockIdx.x + 1) / gridDim.x);
  float sums[kQuad][kQuad] = {};
  for (int index = begin; index < end; ++index) {
    __syncthreads();
    detail::read_stage(maps, layout, group, means, index * stage_samples, layout.samples, pitch,
                       stage_samples, stage);
    __syncthreads();
    if (!multiplies) {
      continue;
    }
    float stage_sums[kQuad][kQuad] = {};
    for (int sample = depth_group; sample < stage_samples; sample += depth_groups) {
      auto const left = load_vector<float, kQuad>(stage + sample * pitch + kQuad * pair.row);
      auto const right = load_vector<float, kQuad>(stage + sample * pitch + kQuad * pair.column);
#pragma unroll
      for (int i = 0; i < kQuad; ++i) {
#pragma unroll
        for (int j = 0; j < kQuad; ++j) {
          stage_sums[i][j] = fmaf(left.values[i], right.values[j], stage_sums[i][j]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
#pragma unroll
      for (int j = 0; j < kQuad; ++j) {
        sums[i][j] += stage_sums[i][j];
      }
    }
  }

  __syncthreads();
#pragma unroll
  for (int i = 0; i < kQuad * kQuad; ++i) {
    stage[i * kSmallThreads + threadIdx.x] = sums[i / kQuad][i % kQuad];
  }
  __syncthreads();
  float* const to = parts.sums + (std::int64_t{blockIdx.x} * parts.groups + group) * pitch * pitch;
  for (int element = threadIdx.x; element < pairs * kQuad * kQuad; element += kSmallThreads) {
    int const owner = element % pairs;
    int const entry = element / pairs;
    float sum = 0.0f;
    for (int other = 0; other < depth_groups; ++other) {
      sum += stage[entry * kSmallThreads + other * pairs + owner];
    }
    TrianglePlace const place = triangle_place(owner, quads);
    to[(kQuad * place.row + entry / kQuad) * pitch + kQuad * place.column + entry % kQuad] = sum;
  }
}

template <typename T>
int launch_covariance_small(T const* maps, SampleLayout const& layout, MomentParts const& moments,
                            bool centred, float* mean, CovarianceParts const& parts,
                            cudaStream_t stream) {
  return launch(covariance_small_kernel<T>, dim3(parts.splits, parts.groups), dim3(kSmallThreads),
                0, stream, maps, layout, moments, centred, mean, parts);
}

}  // namespace nd

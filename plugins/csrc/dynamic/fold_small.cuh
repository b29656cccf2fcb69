// The folded weight of up to 64 features a block: float32 multiplications.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"

namespace nd {

// The weight as a matrix: entry f shared + s of an output channel belongs to feature f of vector s.
struct WeightLayout {
  int outputs;        // O
  int group_outputs;  // O / groups
  int groups;
  int features;       // F
  int shared;         // S; 1 where there are groups

  std::int64_t entries() const { return std::int64_t{features} * shared; }
};

constexpr int kFoldThreads = 256;
constexpr int kFoldOutputs = 4;   // output channels a block
constexpr int kFoldVectors = 16;  // vectors of features at a time
constexpr int kFoldFeatures = 64;
constexpr int kFoldSummed = 8;  // products that are added up before they are added to the rest

// Block (i, g): output channels 4 i to 4 i + 3 of group g.
template <typename T>
__global__ void __launch_bounds__(kFoldThreads)
    fold_small_kernel(float const* weight, float const* bias, float const* deconv,
                      float const* mean, WeightLayout layout, T* folded_weight, T* folded_bias) {
  __shared__ float matrix[kFoldFeatures * kFoldFeatures];
  __shared__ float means[kFoldFeatures];
  __shared__ float rows[kFoldOutputs][kFoldFeatures * kFoldVectors];
  __shared__ float scratch[kFoldOutputs][kFoldThreads / 32];
  int const features = layout.features;
  int const group = blockIdx.y;
  int const first = group * layout.group_outputs + blockIdx.x * kFoldOutputs;
  int const outputs =
      min(kFoldOutputs, (group + 1) * layout.group_outputs - first);
  std::int64_t const entries = std::int64_t{features} * layout.shared;
  for (int i = threadIdx.x; i < features * features; i += kFoldThreads) {
    matrix[i] = deconv[std::int64_t{group} * features * features + i];
  }
  for (int i = threadIdx.x; i < features; i += kFoldThreads) {
    means[i] = mean[group * features + i];
  }

  float shifts[kFoldOutputs] = {};
  for (int vector = 0; vector < layout.shared; vector += kFoldVectors) {
    int const vectors = min(kFoldVectors, layout.shared - vector);
    int const count = features * vectors;
    __syncthreads();
    for (int i = threadIdx.x; i < outputs * count; i += kFoldThreads) {
      int const output = i / count;
      int const entry = i % count;
      std::int64_t const from = (first + output) * entries +
                                std::int64_t{entry / vectors} * layout.shared + vector +
                                entry % vectors;
      rows[output][entry] = weight[from];
    }
    __syncthreads();
    for (int entry = threadIdx.x; entry < count; entry += kFoldThreads) {
      int const feature = entry / vectors;
      int const place = entry % vectors;
      float sums[kFoldOutputs] = {};
      for (int from = 0; from < features; from += kFoldSummed) {
        float parts[kFoldOutputs] = {};
        for (int k = from; k < min(from + kFoldSummed, features); ++k) {
          float const factor = matrix[k * features + feature];
#pragma unroll
          for (int output = 0; output < kFoldOutputs; ++output) {
            parts[output] = fmaf(rows[output][k * vectors + place], factor, parts[output]);
          }
        }
#pragma unroll
        for (int output = 0; output < kFoldOutputs; ++output) {
          sums[output] += parts[output];
        }
      }
#pragma unroll
      for (int output = 0; output < kFoldOutputs; ++output) {
        if (output < outputs) {
          std::int64_t const to = (first + output) * entries +
                                  std::int64_t{feature} * layout.shared + vector + place;
          folded_weight[to] = from_float<T>(sums[output]);
          shifts[output] = fmaf(sums[output], means[feature], shifts[output]);
        }
      }
    }
  }

#pragma unroll
  for (int output = 0; output < kFoldOutputs; ++output) {
    float const shift = block_sum(shifts[output], scratch[output]);
    if (threadIdx.x == 0 && output < outputs) {
      folded_bias[first + output] = from_float<T>(bias[first + output] - shift);
    }
  }
}

template <typename T>
int launch_fold_small(float const* weight, float const* bias, float const* deconv,
                      float const* mean, WeightLayout const& layout, T* folded_weight,
                      T* folded_bias, cudaStream_t stream) {
  dim3 const grid(static_cast<unsigned>(divide_up(layout.group_outputs, kFoldOutputs)),
                  layout.groups);
  return launch(fold_small_kernel<T>, grid, dim3(kFoldThreads), 0, stream, weight, bias, deconv,
                mean, layout, folded_weight, folded_bias);
}

}  // namespace nd

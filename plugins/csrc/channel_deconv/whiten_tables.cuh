// D as tensor cores take it: split, scaled and laid out in shared memory, once by each block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../primitives.cuh"
#include "operands.cuh"

namespace nd {

inline constexpr int kWhitenWarps = 4;

// What is compiled for blocks of up to `kPadded` features.
template <typename T, int kPadded>
struct WhitenMma {
  static constexpr int kSteps = kPadded / 16;  // along the features, of D's rows as of its columns
  // Columns in a run: 16 bytes of a feature, or 8 where the registers are needed for features.
  static constexpr int kWidth = (kPadded > 64 ? 8 : 16) / static_cast<int>(sizeof(T));
  static constexpr int kColumns = 8 * kWidth;
  static constexpr int kFragments = Operands<T>::kDParts * kSteps * kSteps * 32;
  static constexpr std::size_t kSharedBytes =
      kFragments * sizeof(uint4) + 3 * kPadded * sizeof(float);

  // Blocks that are to be resident on a multiprocessor: as many as leave enough registers.
  static constexpr int blocks(bool whole_vectors) {
    return kPadded > 64   ? 2
           : kPadded > 32 ? (whole_vectors ? 3 : 2)
           : kPadded > 16 ? (whole_vectors ? 4 : 3)
                          : (whole_vectors ? 6 : 5);
  }
};

// A lane is 4 g + t, as in primitives/mma.cuh.
__device__ __forceinline__ int lane_g() { return static_cast<int>(threadIdx.x % 32u / 4u); }
__device__ __forceinline__ int lane_t() { return static_cast<int>(threadIdx.x % 4u); }

// D as operands, and what goes with its rows and columns, in shared memory.
template <typename T, int kPadded>
struct WhitenTables {
  static constexpr int kSteps = WhitenMma<T, kPadded>::kSteps;

  uint4* fragments;  // [part][row step][column step][lane]
  float* mean;       // of each feature
  float* unscale;    // of each row: what takes back its scale
  float* start;      // of each row: -D mean, where x is not centred

  __device__ WhitenTables()
      : fragments(dynamic_shared<uint4>()),
        mean(reinterpret_cast<float*>(fragments + WhitenMma<T, kPadded>::kFragments)),
        unscale(mean + kPadded),
        start(unscale + kPadded) {}

  __device__ uint4& fragment(int part, int row_step, int column_step) {
    return fragments[((part * kSteps + row_step) * kSteps + column_step) * 32 + threadIdx.x % 32u];
  }
};

// Four neighbouring elements of a row of an F x F matrix, zeros where it does not reach.
__device__ __forceinline__ float4 load_four(float const* matrix, int features, int row,
                                            int column) {
  float four[4] = {};
  if (row < features && column < features) {
    float const* from = matrix + static_cast<std::int64_t>(row) * features + column;
    if (features % 4 == 0 && reinterpret_cast<std::uintptr_t>(matrix) % 16 == 0) {
      return __ldg(reinterpret_cast<float4 const*>(from));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      four[i] = column + i < features ? __ldg(from + i) : 0.0f;
    }
  }
  return make_float4(four[0], four[1], four[2], four[3]);
}

// What a lane reads of 16 rows of D: 4 columns in each step of rows g and g + 8.
template <typename T, int kPadded>
struct DRows {
  float4 rows[WhitenMma<T, kPadded>::kSteps][2];
  float4 means[WhitenMma<T, kPadded>::kSteps];  // of these columns, where x is not centred
};

template <typename T, int kPadded>
__device__ __forceinline__ void load_rows(float const* mean, float const* deconv, int features,
                                          int row_step, DRows<T, kPadded>& d) {
  int const row = 16 * row_step + lane_g();
#pragma unroll
  for (int k = 0; k < WhitenMma<T, kPadded>::kSteps; ++k) {
    int const column = 16 * k + 4 * lane_t();
    d.rows[k][0] = load_four(deconv, features, row, column);
    d.rows[k][1] = load_four(deconv, features, row + 8, column);
    if constexpr (!Operands<T>::kCentred) {
      d.means[k] = load_four(mean, features, 0, column);
    }
  }
}

__device__ __forceinline__ float largest_of(float4 v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

__device__ __forceinline__ float dot(float4 a, float4 b) {
  return fmaf(a.x, b.x, a.y * b.y) + fmaf(a.z, b.z, a.w * b.w);
}

__device__ __forceinline__ void multiply(float4& v, float by) {
  v = make_float4(v.x * by, v.y * by, v.z * by, v.w * by);
}

// Scales the rows for their type and writes what takes the scale back; the whole warp takes part.
template <typename T, int kPadded>
__device__ __forceinline__ void scale_rows(WhitenTables<T, kPadded>& tables, int row_step,
                                           DRows<T, kPadded>& d) {
  int const row = 16 * row_step + lane_g();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = 0.0f;
#pragma unroll
    for (int k = 0; k < WhitenMma<T, kPadded>::kSteps; ++k) {
      largest = fmaxf(largest, largest_of(d.rows[k][half]));
    }
    // The four lanes that hold the row.
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    int const exponent = scale_exponent(largest);
#pragma unroll
    for (int k = 0; k < WhitenMma<T, kPadded>::kSteps; ++k) {
      multiply(d.rows[k][half], power_of_two(exponent));
    }
    tables.unscale[row + 8 * half] = power_of_two(-exponent);
  }
}

// Writes -D mean of the rows; the whole warp takes part.
template <typename T, int kPadded>
__device__ __forceinline__ void start_rows(WhitenTables<T, kPadded>& tables, int row_step,
                                           DRows<T, kPadded> const& d) {
  int const row = 16 * row_step + lane_g();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < WhitenMma<T, kPadded>::kSteps; ++k) {
      sum += dot(d.rows[k][half], d.means[k]);
    }
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    tables.start[row + 8 * half] = -sum;
  }
}

// Splits 16 rows of D and lays them out, with what goes with them; called by a whole warp.
template <typename T, int kPadded>
__device__ __forceinline__ void lay_out_rows(WhitenTables<T, kPadded>& tables, int row_step,
                                             DRows<T, kPadded>& d) {
  if constexpr (!Operands<T>::kCentred) {
    start_rows(tables, row_step, d);
  }
  if constexpr (Operands<T>::kScaled) {
    scale_rows(tables, row_step, d);
  }
#pragma unroll
  for (int k = 0; k < WhitenMma<T, kPadded>::kSteps; ++k) {
    float4& upper = d.rows[k][0];
    float4& lower = d.rows[k][1];
#pragma unroll
    for (int part = 0; part < Operands<T>::kDParts; ++part) {
      tables.fragment(part, row_step, k) = make_uint4(
          take_d_part<T>(upper.x, upper.y), take_d_part<T>(lower.x, lower.y),
          take_d_part<T>(upper.z, upper.w), take_d_part<T>(lower.z, lower.w));
    }
  }
}

}  // namespace nd

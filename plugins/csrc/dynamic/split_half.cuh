// Float32 values as pairs of float16, which tensor cores multiply.
//
// x = high + low / 2048 with both rounded to nearest: 22 bits of x, and of a product of two such
// numbers high high + (high low + low high) / 2048, which leaves out 2^-22 at most and 2^-24 on
// average. Compared with three TF32 products (as many bits of both operands) it takes half the
// tensor cores' time, no instruction inside a product to split anything, and runs on Turing too.
// What it asks for is a range: |x| below 65504, and as nothing below 2^-36 is seen, numbers that
// are scaled to about 1, by powers of two, so that scaling rounds nothing.
//
// A row of a matrix lies in pieces of 32 columns, 32 high parts and then 32 low parts: 128 bytes,
// the line that a tile of a product reads of the row in one go.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "../primitives.cuh"
#include "workspace.cuh"

namespace nd {

constexpr int kPiece = 32;  // columns
constexpr float kLowScale = 2048.0f;
// Rows that products may read behind a matrix's last one, to whatever values.
constexpr int kRowsBehind = 96;

struct SplitHalf {
  __half high, low;
};

__device__ __forceinline__ SplitHalf split_half(float value) {
  __half const high = from_float<__half>(value);
  return {high, from_float<__half>((value - to_float(high)) * kLowScale)};
}

__device__ __forceinline__ float join_half(SplitHalf value) {
  return to_float(value.high) + to_float(value.low) / kLowScale;
}

// Where a row's high part of a column lies, in elements from the row's start; its low part lies
// kPiece behind.
__device__ __forceinline__ std::int64_t high_offset(int column) {
  return column / kPiece * (2 * kPiece) + column % kPiece;
}

constexpr int kRun = 8;  // neighbours of a row that are written as one

// Splits and writes kRun values; `to` is where the first one's high part goes.
__device__ __forceinline__ void store_split_run(float const (&values)[kRun], __half* to) {
  Vector<__half, kRun> high, low;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    SplitHalf const split = split_half(values[i]);
    high.values[i] = split.high;
    low.values[i] = split.low;
  }
  store_vector(to, high);
  store_vector(to + kPiece, low);
}

// The kRun values whose first high part lies at `from`.
__device__ __forceinline__ void load_split_run(__half const* from, float (&values)[kRun]) {
  auto const high = load_vector<__half, kRun>(from);
  auto const low = load_vector<__half, kRun>(from + kPiece);
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    values[i] = join_half({high.values[i], low.values[i]});
  }
}

// The largest power of two not above `bound`, as its inverse and itself: a scale that rounds
// nothing and brings what is within `bound` below 2. It is 1 where `bound` has no such power.
struct PowerOfTwo {
  float inverse, value;
};

__device__ __forceinline__ PowerOfTwo power_below(float bound) {
  constexpr int kBias = 127;
  // Within these limits the squares of both are float32 numbers.
  constexpr int kLimit = 62;
  int const exponent = static_cast<int>(__float_as_uint(bound) >> 23 & 0xffu) - kBias;
  bool const none = bound == 0.0f || exponent == kBias + 1;
  int const kept = none ? 0 : max(-kLimit, min(kLimit, exponent));
  return {__uint_as_float(static_cast<unsigned>(kBias - kept) << 23),
          __uint_as_float(static_cast<unsigned>(kBias + kept) << 23)};
}

// `groups` matrices of rows x columns, split. `columns` holds their transposes; a matrix that is
// taken to be symmetric is its own.
struct SplitMatrix {
  __half* rows;
  __half* columns;
  std::int64_t pitch;  // elements from row to row
  std::int64_t size;   // elements from group to group
};

inline std::int64_t split_pitch(std::int64_t columns) { return 2 * round_up(columns, kPiece); }

inline __half* take_split_rows(Workspace& workspace, std::int64_t rows, std::int64_t columns) {
  return workspace.take<__half>((rows + kRowsBehind) * split_pitch(columns));
}

// Square matrices of `size` rows.
inline SplitMatrix take_split_matrix(Workspace& workspace, std::int64_t groups, std::int64_t size,
                                     bool symmetric) {
  SplitMatrix matrix{};
  matrix.rows = take_split_rows(workspace, groups * size, size);
  matrix.columns = symmetric ? matrix.rows : take_split_rows(workspace, groups * size, size);
  matrix.pitch = split_pitch(size);
  matrix.size = size * matrix.pitch;
  return matrix;
}

}  // namespace nd

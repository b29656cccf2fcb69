// Whitening by ordinary multiply-adds: any size of block, any GPU.
//
// A block of threads computes a tile of 64 features of 64 columns, each thread 4 x 4 of it, from
// slices of 16 features of D and x - mean in shared memory. A slice's products are summed on their
// own before they are added to what came before, which keeps the error of long sums small.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../primitives.cuh"
#include "columns.cuh"

namespace nd {

struct WhitenFma {
  static constexpr int kThreads = 256;
  static constexpr int kRows = 64, kColumns = 64, kDepth = 16;
  static constexpr int kShare = 4;  // of a thread: rows and columns of a tile, and loads of a slice
};

struct WhitenSlices {
  // Transposed, with a row's length that keeps transposed writes off the same bank.
  float d[WhitenFma::kDepth][WhitenFma::kRows + 4];
  float x[WhitenFma::kDepth][WhitenFma::kColumns];
  std::int64_t offsets[WhitenFma::kColumns];  // of the tile's columns, -1 where there is none
};

// What a thread fetches of a slice, while the one before it is being used.
struct SliceShare {
  float d[WhitenFma::kShare], x[WhitenFma::kShare];
};

template <typename T>
__device__ __forceinline__ SliceShare fetch(Columns<T> const& columns, WhitenSlices const& slices,
                                            float const* mean, float const* deconv, int first_row,
                                            int depth) {
  using Shape = WhitenFma;
  int const thread = static_cast<int>(threadIdx.x);
  int const column = thread % Shape::kColumns;
  std::int64_t const offset = slices.offsets[column];
  SliceShare share;
#pragma unroll
  for (int i = 0; i < Shape::kShare; ++i) {
    int const feature = depth + thread / Shape::kColumns + i * (Shape::kThreads / Shape::kColumns);
    bool const exists = feature < columns.features && offset >= 0;
    share.x[i] =
        exists ? to_float(columns.x[offset + feature * columns.row_stride]) - mean[feature] : 0.0f;
    int const d_feature = depth + thread % Shape::kDepth;
    int const row = first_row + thread / Shape::kDepth + i * (Shape::kThreads / Shape::kDepth);
    share.d[i] = d_feature < columns.features && row < columns.features
                     ? deconv[static_cast<std::int64_t>(row) * columns.features + d_feature]
                     : 0.0f;
  }
  return share;
}

__device__ __forceinline__ void put(WhitenSlices& slices, SliceShare const& share) {
  using Shape = WhitenFma;
  int const thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < Shape::kShare; ++i) {
    slices.x[thread / Shape::kColumns + i * (Shape::kThreads / Shape::kColumns)]
            [thread % Shape::kColumns] = share.x[i];
    slices.d[thread % Shape::kDepth]
            [thread / Shape::kDepth + i * (Shape::kThreads / Shape::kDepth)] = share.d[i];
  }
}

// Adds a slice's products to the thread's 4 rows of every 16th column.
__device__ __forceinline__ void multiply_slice(WhitenSlices const& slices,
                                               float (&results)[WhitenFma::kShare]
                                                               [WhitenFma::kShare]) {
  using Shape = WhitenFma;
  int const row = static_cast<int>(threadIdx.x) / 16 * Shape::kShare;
  int const column = static_cast<int>(threadIdx.x) % 16;
  float sums[Shape::kShare][Shape::kShare] = {};
#pragma unroll
  for (int k = 0; k < Shape::kDepth; ++k) {
    auto const d = load_vector<float, Shape::kShare>(&slices.d[k][row]);
#pragma unroll
    for (int j = 0; j < Shape::kShare; ++j) {
      float const x = slices.x[k][column + 16 * j];
#pragma unroll
      for (int i = 0; i < Shape::kShare; ++i) {
        sums[i][j] = fmaf(d.values[i], x, sums[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < Shape::kShare; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kShare; ++j) {
      results[i][j] += sums[i][j];
    }
  }
}

template <typename T>
__device__ __forceinline__ void store_tile(Columns<T> const& columns, WhitenSlices const& slices,
                                           int first_row,
                                           float const (&results)[WhitenFma::kShare]
                                                                 [WhitenFma::kShare]) {
  using Shape = WhitenFma;
  int const first = first_row + static_cast<int>(threadIdx.x) / 16 * Shape::kShare;
#pragma unroll
  for (int j = 0; j < Shape::kShare; ++j) {
    std::int64_t const offset = slices.offsets[static_cast<int>(threadIdx.x) % 16 + 16 * j];
#pragma unroll
    for (int i = 0; i < Shape::kShare; ++i) {
      if (first + i < columns.features && offset >= 0) {
        float const value = results[i][j] < columns.floor ? columns.floor : results[i][j];
        columns.y[offset + (first + i) * columns.row_stride] = from_float<T>(value);
      }
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(WhitenFma::kThreads, 3)
    whiten_fma(Columns<T> columns, float const* mean, float const* deconv) {
  using Shape = WhitenFma;
  WhitenSlices& slices = *dynamic_shared<WhitenSlices>();
  int const first_row = static_cast<int>(blockIdx.y) * Shape::kRows;
  if (threadIdx.x < Shape::kColumns) {
    Run const run = locate(columns, blockIdx.x * Shape::kColumns + threadIdx.x, 1);
    slices.offsets[threadIdx.x] = run.valid ? run.offset : -1;
  }
  __syncthreads();
  float results[Shape::kShare][Shape::kShare] = {};
  SliceShare share = fetch(columns, slices, mean, deconv, first_row, 0);
  for (int depth = 0; depth < columns.features; depth += Shape::kDepth) {
    put(slices, share);
    __syncthreads();
    share = fetch(columns, slices, mean, deconv, first_row, depth + Shape::kDepth);
    multiply_slice(slices, results);
    __syncthreads();
  }
  store_tile(columns, slices, first_row, results);
}

}  // namespace nd

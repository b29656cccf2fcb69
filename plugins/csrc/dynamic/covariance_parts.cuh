// From sums of products over parts of the samples to the matrix that is to be inverted.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"
#include "workspace.cuh"

namespace nd {

// (splits, groups, pitch, pitch): sums of products of two features' samples, on or above the
// diagonal. Where features were scaled, `unscale` (groups F) undoes it.
struct CovarianceParts {
  float* sums;
  float const* unscale;
  int splits;
  int groups;
  int pitch;
};

// (groups, F, F) and the sums of its squares, a tile each: (groups, norm_parts).
struct Moment {
  float* values;
  float* squares;
  int features;
  int groups;
  int norm_parts;
};

constexpr int kMomentTile = 16;
// How many threads share the splits of an element.
constexpr int kSplitLanes = 4;

inline Moment take_moment(Workspace& workspace, int groups, int features) {
  Moment moment{};
  moment.features = features;
  moment.groups = groups;
  moment.norm_parts = triangle(static_cast<int>(divide_up(features, kMomentTile)));
  moment.values = workspace.take<float>(std::int64_t{groups} * features * features);
  moment.squares = workspace.take<float>(std::int64_t{groups} * moment.norm_parts);
  return moment;
}

// Block (i, g): tile i of group g, and its mirror image: the matrix is symmetric to the bit.
static __global__ void __launch_bounds__(kMomentTile* kMomentTile* kSplitLanes)
    covariance_parts_kernel(CovarianceParts parts, Moment moment, float samples, float eps) {
  __shared__ float lanes[kSplitLanes][kMomentTile][kMomentTile + 1];
  __shared__ float scratch[kMomentTile * kMomentTile * kSplitLanes / 32];
  int const features = moment.features;
  int const tiles = static_cast<int>(divide_up(features, kMomentTile));
  TrianglePlace const tile = triangle_place(blockIdx.x, tiles);
  int const x = threadIdx.x % kMomentTile;
  int const y = threadIdx.x / kMomentTile % kMomentTile;
  int const lane = threadIdx.x / (kMomentTile * kMomentTile);
  int const row = tile.row * kMomentTile + y;
  int const column = tile.column * kMomentTile + x;
  bool const inside = row <= column && column < features;
  std::int64_t const plane = std::int64_t{parts.pitch} * parts.pitch;
  float sum = 0.0f;
  if (inside) {
    float const* const first =
        parts.sums + blockIdx.y * plane + std::int64_t{row} * parts.pitch + column;
#pragma unroll 8
    for (int split = lane; split < parts.splits; split += kSplitLanes) {
      sum += first[split * plane * parts.groups];
    }
  }
  lanes[lane][y][x] = sum;
  __syncthreads();

  float square = 0.0f;
  if (lane == 0) {
    float total = ((lanes[0][y][x] + lanes[1][y][x]) + (lanes[2][y][x] + lanes[3][y][x])) / samples;
    if (inside && parts.unscale != nullptr) {
      float const* const unscale = parts.unscale + std::int64_t{blockIdx.y} * features;
      total *= unscale[row] * unscale[column];
    }
    total += row == column ? eps : 0.0f;
    square = inside ? (row == column ? 1.0f : 2.0f) * total * total : 0.0f;
    lanes[0][y][x] = total;
  }
  __syncthreads();
  float* const matrix =
      moment.values + std::int64_t{blockIdx.y} * features * features;
  if (lane == 0 && inside) {
    matrix[std::int64_t{row} * features + column] = lanes[0][y][x];
  }
  // The same tile by columns, which are the mirror image's rows.
  int const mirrored_row = tile.column * kMomentTile + y;
  int const mirrored_column = tile.row * kMomentTile + x;
  if (lane == 1 && mirrored_column < mirrored_row && mirrored_row < features) {
    matrix[std::int64_t{mirrored_row} * features + mirrored_column] = lanes[0][x][y];
  }
  float const squares = block_sum(square, scratch);
  if (threadIdx.x == 0) {
    moment.squares[std::int64_t{blockIdx.y} * moment.norm_parts + blockIdx.x] = squares;
  }
}

inline int launch_covariance_parts(CovarianceParts const& parts, Moment const& moment, int samples,
                                   float eps, cudaStream_t stream) {
  static_assert(kSplitLanes == 4, "the kernel adds up four");
  dim3 const grid(moment.norm_parts, moment.groups);
  return launch(covariance_parts_kernel, grid, dim3(kMomentTile * kMomentTile * kSplitLanes), 0,
                stream, parts, moment, static_cast<float>(samples), eps);
}

}  // namespace nd

// The products of Newton-Schulz steps, by tiles of split matrices.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "../primitives.cuh"
#include "split_half.cuh"
#include "split_product.cuh"

namespace nd {

// result = scale left right + diagonal I + addend_scale addend.
struct RootProduct {
  SplitMatrix left, right, result;
  float scale, diagonal;
  __half const* addend;  // rows, or null
  float addend_scale;
};

struct RootProducts {
  RootProduct products[2];
};

// Writes a tile's rows, or with `kTransposed` its columns, to rows of a split matrix from `to` on.
template <typename Tile, bool kTransposed>
__device__ __forceinline__ void store_split_tile(float const* tile, __half* to,
                                                 std::int64_t pitch) {
  constexpr int kRunsPerRow = Tile::kColumns / kRun;
  static_assert(Tile::kRows == Tile::kColumns && Tile::kColumns % kPiece == 0);
  for (int i = threadIdx.x; i < Tile::kRows * kRunsPerRow; i += Tile::kThreads) {
    int const row = i / kRunsPerRow;
    int const first = i % kRunsPerRow * kRun;
    float values[kRun];
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      values[j] = kTransposed ? tile[(first + j) * Tile::kResultPitch + row]
                              : tile[row * Tile::kResultPitch + first + j];
    }
    store_split_run(values, to + row * pitch + high_offset(first));
  }
}

// Makes the tile's product what the result is to hold. `offset` is that of the tile's first row.
template <typename Tile>
__device__ __forceinline__ void finish_tile(float* tile, RootProduct const& product,
                                            std::int64_t offset, int diagonal_offset) {
  constexpr int kRunsPerRow = Tile::kColumns / kRun;
  for (int i = threadIdx.x; i < Tile::kRows * kRunsPerRow; i += Tile::kThreads) {
    int const row = i / kRunsPerRow;
    int const first = i % kRunsPerRow * kRun;
    float added[kRun] = {};
    if (product.addend != nullptr) {
      std::int64_t const from = offset + row * product.result.pitch + high_offset(first);
      load_split_run(product.addend + from, added);
    }
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      float& value = tile[row * Tile::kResultPitch + first + j];
      bool const diagonal = row + diagonal_offset == first + j;
      float const rest = product.addend_scale * added[j] + (diagonal ? product.diagonal : 0.0f);
      value = product.scale * value + rest;
    }
  }
  __syncthreads();
}

// Block (i, p, g): tile i of product p of group g.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    newton_schulz_product_kernel(RootProducts both, int tiles, int pieces, bool symmetric) {
  RootProduct const& product = both.products[blockIdx.y];
  int const index = blockIdx.x;
  TrianglePlace const place = symmetric ? triangle_place(index, tiles)
                                        : TrianglePlace{index / tiles, index % tiles};
  std::int64_t const pitch = product.result.pitch;
  std::int64_t const group = blockIdx.z * product.result.size;
  int const first_row = place.row * Tile::kRows;
  int const first_column = place.column * Tile::kColumns;
  TileOperand const a{product.left.rows + group + first_row * pitch, pitch};
  TileOperand const b{product.right.columns + group + first_column * pitch, pitch};
  float* const tile = product_tile<Tile>(a, b, false, 0, pieces);
  std::int64_t const offset = group + first_row * pitch + high_offset(first_column);
  finish_tile<Tile>(tile, product, offset, first_row - first_column);
  store_split_tile<Tile, false>(tile, product.result.rows + offset, pitch);
  // A symmetric matrix's tile on the diagonal is its own mirror image.
  if (!symmetric || place.row != place.column) {
    store_split_tile<Tile, true>(
        tile, product.result.columns + group + first_column * pitch + high_offset(first_row),
        pitch);
  }
}

}  // namespace nd

// A tile of a product of split matrices, a b^T, in float32 accuracy on tensor cores.
//
// Both operands are read by rows, so that what is summed over lies side by side in memory. Tensor
// cores cut off where they add; hence every 16 products of high parts start from zero and are added
// up by ordinary additions, while the 2048 times smaller mixed products stay in the tensor cores.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../primitives.cuh"
#include "../primitives/fragments.cuh"
#include "split_half.cuh"

namespace nd {

// kWarpsM x kWarpsN warps, each 16 kFragmentsM x 8 kFragmentsN; kGroupsK times as many warps, each
// time for a part of what is summed over; kStages pieces in shared memory.
template <int kWarpsM, int kWarpsN, int kFragmentsM, int kFragmentsN, int kGroupsK, int kStages>
struct ProductTile {
  static constexpr int kWarpsAcross = kWarpsN;
  static constexpr int kRowFragments = kFragmentsM;
  static constexpr int kColumnFragments = kFragmentsN;
  static constexpr int kDepthGroups = kGroupsK;
  static constexpr int kPieces = kStages;
  static constexpr int kRows = 16 * kWarpsM * kFragmentsM;
  static constexpr int kColumns = 8 * kWarpsN * kFragmentsN;
  static constexpr int kGroupWarps = kWarpsM * kWarpsN;
  static constexpr int kThreads = 32 * kGroupWarps * kGroupsK;
  // At least so many on a multiprocessor. Turing's holds the shared memory of one.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  static constexpr int kBlocks = 1;
#else
  static constexpr int kBlocks = 2;
#endif
  static constexpr int kLineBytes = 4 * kPiece;
  static constexpr int kPieceBytes = (kRows + kColumns) * kLineBytes;
  static constexpr int kResultPitch = kColumns + 1;
  static constexpr int kResultBytes = kRows * kResultPitch * 4;
  static constexpr int kSharedBytes =
      kStages * kPieceBytes > kResultBytes ? kStages * kPieceBytes : kResultBytes;
  static_assert(kFragmentsN % 2 == 0 && (kGroupsK == 1 || kGroupsK == 2));
  // What a block may have on every architecture without asking.
  static_assert(kSharedBytes <= 48 * 1024);
};

// Of F = 576: 45 tiles on or above the diagonal of a Newton-Schulz product, 90 of two at once.
using MediumTile = ProductTile<2, 2, 2, 4, 2, 3>;  // 64 x 64
// Where those would leave most of a GPU idle.
using SmallTile = ProductTile<2, 2, 1, 2, 2, 4>;  // 32 x 32
// Where there is work for all: two thirds of MediumTile's traffic between cache and blocks.
using LargeTile = ProductTile<2, 3, 3, 4, 1, 2>;  // 96 x 96

// The first row of an operand's tile.
struct TileOperand {
  __half const* rows;
  std::int64_t pitch;
};

namespace detail {

// Chunks of 16 bytes are permuted within a line, so that neither copies nor fragments, eight lines
// at a time, meet in a bank.
__device__ __forceinline__ int chunk_offset(int line, int chunk) {
  return line * 128 + ((chunk ^ (line & 7)) << 4);
}

// Begins to copy a piece of kLines rows to the lines from `piece` on.
template <typename Tile, int kLines>
__device__ __forceinline__ void copy_lines(unsigned char* piece, TileOperand operand, int index) {
  constexpr int kChunks = 8;
  constexpr int kStep = Tile::kThreads / kChunks;
  static_assert(kLines % kStep == 0 && kStep % kChunks == 0);
  int const line = threadIdx.x / kChunks;
  int const chunk = threadIdx.x % kChunks;
  unsigned char* to = piece + chunk_offset(line, chunk);
  __half const* from = operand.rows + line * operand.pitch + index * (2 * kPiece) + chunk * 8;
#pragma unroll
  for (int done = 0; done < kLines; done += kStep) {
    copy_async<16>(to, from);
    to += kStep * Tile::kLineBytes;
    from += kStep * operand.pitch;
  }
}

template <typename Tile>
__device__ __forceinline__ void copy_piece(unsigned char* piece, TileOperand a, TileOperand b,
                                           bool same, int index) {
  copy_lines<Tile, Tile::kRows>(piece, a, index);
  if (!same) {
    copy_lines<Tile, Tile::kColumns>(piece + Tile::kRows * Tile::kLineBytes, b, index);
  }
}

template <typename Tile>
struct Accumulators {
  float high[Tile::kRowFragments][Tile::kColumnFragments][4] = {};
  float mixed[Tile::kRowFragments][Tile::kColumnFragments][4] = {};
};

// Adds the products of columns 16 half to 16 half + 15 of a piece.
template <typename Tile>
__device__ __forceinline__ void multiply_half_piece(Accumulators<Tile>& sums,
                                                    unsigned char const* piece, int b_line,
                                                    int half) {
  constexpr int kM = Tile::kRowFragments;
  constexpr int kN = Tile::kColumnFragments;
  int const lane = threadIdx.x % 32;
  int const warp = threadIdx.x / 32 % Tile::kGroupWarps;
  int const a_line = warp / Tile::kWarpsAcross * (16 * kM) + lane % 16;
  b_line += warp % Tile::kWarpsAcross * (8 * kN) + lane % 8 + lane / 16 * 8;
  std::uint32_t b[2][kN][2];
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    int const chunk = 4 * part + 2 * half + lane / 8 % 2;
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      std::uint32_t both[4];
      load_matrices(both, piece + chunk_offset(b_line + 8 * n, chunk));
      b[part][n][0] = both[0];
      b[part][n][1] = both[1];
      b[part][n + 1][0] = both[2];
      b[part][n + 1][1] = both[3];
    }
  }
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    std::uint32_t a[2][4];
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      int const chunk = 4 * part + 2 * half + lane / 16;
      load_matrices(a[part], piece + chunk_offset(a_line + 16 * m, chunk));
    }
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      float high[4] = {};
      multiply_f16(high, a[0], b[0][n]);
      multiply_f16(sums.mixed[m][n], a[0], b[1][n]);
      multiply_f16(sums.mixed[m][n], a[1], b[0][n]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums.high[m][n][i] += high[i];
      }
    }
  }
}

// Writes the sums to the tile in shared memory, or adds them to what is there.
template <typename Tile, bool kAdd>
__device__ __forceinline__ void put_result(Accumulators<Tile> const& sums, float* result) {
  int const lane = threadIdx.x % 32;
  int const warp = threadIdx.x / 32 % Tile::kGroupWarps;
  int const first_row = warp / Tile::kWarpsAcross * (16 * Tile::kRowFragments) + lane / 4;
  int const first_column =
      warp % Tile::kWarpsAcross * (8 * Tile::kColumnFragments) + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < Tile::kRowFragments; ++m) {
#pragma unroll
    for (int n = 0; n < Tile::kColumnFragments; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const row = first_row + 16 * m + i / 2 * 8;
        int const at = row * Tile::kResultPitch + first_column + 8 * n + i % 2;
        float const sum = sums.high[m][n][i] + sums.mixed[m][n][i] / kLowScale;
        result[at] = kAdd ? result[at] + sum : sum;
      }
    }
  }
}

}  // namespace detail

// Computes the tile whose rows and columns are the given rows of a and of b, summed over the pieces
// `first` to `last` - 1. Returns it in shared memory, Tile::kResultPitch floats a row, once all
// threads of the block may read it. `same` says that a and b are the same rows.
template <typename Tile>
__device__ __forceinline__ float* product_tile(TileOperand a, TileOperand b, bool same, int first,
                                               int last) {
  auto* const pieces = dynamic_shared<unsigned char>();
  auto* const result = dynamic_shared<float>();
  int const group = threadIdx.x / (32 * Tile::kGroupWarps);
  int const b_line = same ? 0 : Tile::kRows;
  for (int ahead = 0; ahead < Tile::kPieces - 1; ++ahead) {
    if (first + ahead < last) {
      detail::copy_piece<Tile>(pieces + ahead * Tile::kPieceBytes, a, b, same, first + ahead);
    }
    copy_async_commit();
  }
  detail::Accumulators<Tile> sums;
  int slot = 0;
  for (int index = first; index < last; ++index) {
    copy_async_wait<Tile::kPieces - 2>();
    __syncthreads();  // this piece is there, and the one before is done with
    int const ahead = index + Tile::kPieces - 1;
    if (ahead < last) {
      int const to = slot == 0 ? Tile::kPieces - 1 : slot - 1;
      detail::copy_piece<Tile>(pieces + to * Tile::kPieceBytes, a, b, same, ahead);
    }
    copy_async_commit();
    unsigned char const* const piece = pieces + slot * Tile::kPieceBytes;
    // Both halves at once would take more registers than two blocks have.
#pragma unroll 1
    for (int half = group; half < 2; half += Tile::kDepthGroups) {
      detail::multiply_half_piece<Tile>(sums, piece, b_line, half);
    }
    slot = slot + 1 == Tile::kPieces ? 0 : slot + 1;
  }
  copy_async_wait<0>();
  __syncthreads();
  if (group == 0) {
    detail::put_result<Tile, false>(sums, result);
  }
  __syncthreads();
  if (Tile::kDepthGroups > 1) {
    if (group == 1) {
      detail::put_result<Tile, true>(sums, result);
    }
    __syncthreads();
  }
  return result;
}

}  // namespace nd

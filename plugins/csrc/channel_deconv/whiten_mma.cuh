// Whitening on tensor cores: blocks of up to 128 features, sm_80 and later.
//
// A warp owns a tile: all features of 8 Width neighbouring columns. It reads them once, straight
// into the registers that tensor cores take, and writes them once, straight from the registers that
// tensor cores leave; only D is in shared memory, split and laid out once by each block. Warps do
// not wait for each other: while some wait for memory, others multiply.
//
// What makes this possible is that a product does not mind the order of its columns or of the
// features that it sums over. With lane = 4 g + t, a lane holds features 16 k + 4 t .. + 3 of run
// g, and in its n-th product column n of each run. So its loads are vectors of Width elements, and
// so are its stores: results t of the n-th product are columns n of runs 2 t and 2 t + 1, and the
// runs are ordered such that the four lanes of a row write next to each other.
#pragma once

#include <cstdint>

#include "../primitives.cuh"
#include "columns.cuh"
#include "operands.cuh"
#include "whiten_tables.cuh"

namespace nd {

// What a lane holds of a tile of x, as read: four features of a run in each step.
template <typename T, int kPadded>
struct XTile {
  RunWords<T, WhitenMma<T, kPadded>::kWidth> rows[WhitenMma<T, kPadded>::kSteps][4];
};

// The tile's parts as operands: [part][step][column of the run], two features a word.
template <typename T, int kPadded>
struct XParts {
  using Shape = WhitenMma<T, kPadded>;
  std::uint32_t words[Operands<T>::kXParts][Shape::kSteps][Shape::kWidth][2];
};

template <bool kWhole, typename T, int kPadded>
__device__ __forceinline__ void load_tile(Columns<T> const& columns, std::uint32_t tile,
                                          XTile<T, kPadded>& x) {
  using Shape = WhitenMma<T, kPadded>;
  int const g = lane_g();
  int const t = lane_t();
  std::uint32_t const first = tile * Shape::kColumns + (g / 2 + 4 * (g % 2)) * Shape::kWidth;
  Run const run = locate(columns, first, Shape::kWidth);
  int const features = run.valid > 0 ? columns.features - 4 * t : 0;
  T const* row = columns.x + run.offset + 4 * t * columns.row_stride;
#pragma unroll
  for (int k = 0; k < Shape::kSteps; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x.rows[k][i] = load_run<kWhole, Shape::kWidth>(columns, run, row, 16 * k + i < features);
      row += i < 3 ? columns.row_stride : 13 * columns.row_stride;
    }
  }
}

template <typename T, int kPadded>
__device__ __forceinline__ void split_tile(XTile<T, kPadded> const& x, float const* mean,
                                           XParts<T, kPadded>& parts) {
  using Shape = WhitenMma<T, kPadded>;
  constexpr int kXParts = Operands<T>::kXParts;
  int const t = lane_t();
#pragma unroll
  for (int k = 0; k < Shape::kSteps; ++k) {
    float4 means{};
    if constexpr (Operands<T>::kCentred) {
      means = *reinterpret_cast<float4 const*>(mean + 16 * k + 4 * t);
    }
#pragma unroll
    for (int n = 0; n < Shape::kWidth; ++n) {
      std::uint32_t front[kXParts], back[kXParts];
      auto const& rows = x.rows[k];
      split_x<T>(rows[0].bits(n), rows[1].bits(n), make_float2(means.x, means.y), front);
      split_x<T>(rows[2].bits(n), rows[3].bits(n), make_float2(means.z, means.w), back);
#pragma unroll
      for (int part = 0; part < kXParts; ++part) {
        parts.words[part][k][n][0] = front[part];
        parts.words[part][k][n][1] = back[part];
      }
    }
  }
}

template <typename T, int kPadded>
__device__ __forceinline__ void load_fragment(WhitenTables<T, kPadded>& tables, int part,
                                              int row_step, int k, std::uint32_t (&d)[4]) {
  uint4 const words = tables.fragment(part, row_step, k);
  d[0] = words.x, d[1] = words.y, d[2] = words.z, d[3] = words.w;
}

// All products but that of the leading parts, for 16 features. They are so small that nothing is
// lost where tensor cores add them up.
template <typename T, int kPadded>
__device__ __forceinline__ void add_small(WhitenTables<T, kPadded>& tables,
                                          XParts<T, kPadded> const& x, int row_step,
                                          float (&results)[WhitenMma<T, kPadded>::kWidth][4]) {
  using Shape = WhitenMma<T, kPadded>;
  using Split = Operands<T>;
#pragma unroll
  for (int k = 0; k < Shape::kSteps; ++k) {
    std::uint32_t d[Split::kDParts][4];
#pragma unroll
    for (int part = 0; part < Split::kDParts; ++part) {
      load_fragment(tables, part, row_step, k, d[part]);
    }
#pragma unroll
    for (int product = 0; product < Split::kProducts - 1; ++product) {
#pragma unroll
      for (int n = 0; n < Shape::kWidth; ++n) {
        Split::multiply(results[n], d[Split::d_part(product)],
                        x.words[Split::x_part(product)][k][n]);
      }
    }
  }
}

// The product of the leading parts. float32 results are added by ordinary additions, step by step,
// as tensor cores would truncate: see primitives/mma.cuh.
template <typename T, int kPadded>
__device__ __forceinline__ void add_leading(WhitenTables<T, kPadded>& tables,
                                            XParts<T, kPadded> const& x, int row_step,
                                            float (&results)[WhitenMma<T, kPadded>::kWidth][4]) {
  using Shape = WhitenMma<T, kPadded>;
  using Split = Operands<T>;
#pragma unroll
  for (int k = 0; k < Shape::kSteps; ++k) {
    std::uint32_t d[4];
    load_fragment(tables, 0, row_step, k, d);
#pragma unroll
    for (int n = 0; n < Shape::kWidth; ++n) {
      if constexpr (Split::kRoundedAdds) {
        float sums[4] = {};
        Split::multiply(sums, d, x.words[0][k][n]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          results[n][i] += sums[i];
        }
      } else {
        Split::multiply(results[n], d, x.words[0][k][n]);
      }
    }
  }
}

// Writes one of the lane's two rows of results: one of its features of both its runs.
template <bool kWhole, typename T, int kPadded, int kWidth>
__device__ __forceinline__ void store_row(WhitenTables<T, kPadded>& tables,
                                          Columns<T> const& columns, Run const (&runs)[2], int row,
                                          int half, float const (&results)[kWidth][4]) {
  if (row >= columns.features) {
    return;
  }
  float const unscale = Operands<T>::kScaled ? tables.unscale[row] : 1.0f;
  float const start = Operands<T>::kCentred ? 0.0f : tables.start[row];
#pragma unroll
  for (int side = 0; side < 2; ++side) {
    float values[kWidth];
#pragma unroll
    for (int n = 0; n < kWidth; ++n) {
      float const result = results[n][2 * half + side];
      values[n] = Operands<T>::kCentred ? result : fmaf(result, unscale, start);
    }
    T* const at = columns.y + runs[side].offset + row * columns.row_stride;
    store_run<kWhole, kWidth>(columns, runs[side], at, values);
  }
}

template <bool kWhole, typename T, int kPadded>
__device__ __forceinline__ void whiten_tile(WhitenTables<T, kPadded>& tables,
                                            Columns<T> const& columns, std::uint32_t tile,
                                            XTile<T, kPadded> const& x) {
  using Shape = WhitenMma<T, kPadded>;
  int const g = lane_g();
  int const t = lane_t();
  XParts<T, kPadded> parts;
  split_tile(x, tables.mean, parts);
  std::uint32_t const first = tile * Shape::kColumns + t * Shape::kWidth;
  Run const runs[2] = {locate(columns, first, Shape::kWidth),
                       locate(columns, first + 4 * Shape::kWidth, Shape::kWidth)};
#pragma unroll 1
  for (int row_step = 0; row_step < Shape::kSteps; ++row_step) {
    float results[Shape::kWidth][4] = {};
    add_small(tables, parts, row_step, results);
    add_leading(tables, parts, row_step, results);
    store_row<kWhole>(tables, columns, runs, 16 * row_step + g, 0, results);
    store_row<kWhole>(tables, columns, runs, 16 * row_step + g + 8, 1, results);
  }
}

// Tiles go round the blocks first, then round their warps, so that few tiles use every
// multiprocessor; and blocks that share one begin with different warps, so that each of its tensor
// cores is used.
template <typename T, int kPadded, bool kWhole>
__global__ void __launch_bounds__(32 * kWhitenWarps, (WhitenMma<T, kPadded>::blocks(kWhole)))
    whiten_mma(Columns<T> columns, float const* mean, float const* deconv,
               std::uint32_t multiprocessors) {
#if ND_TENSOR_CORES
  using Shape = WhitenMma<T, kPadded>;
  static_assert(kPadded <= 32 * kWhitenWarps, "a thread for each feature");
  std::uint32_t const tiles = (columns.count + Shape::kColumns - 1) / Shape::kColumns;
  std::uint32_t const turn = (threadIdx.x / 32 + blockIdx.x / multiprocessors) % kWhitenWarps;
  std::uint32_t tile = turn * gridDim.x + blockIdx.x;
  int const thread = static_cast<int>(threadIdx.x);
  int row_step = static_cast<int>(threadIdx.x / 32);
  // D before x, as it is in the cache and is needed first; neither is waited for yet.
  DRows<T, kPadded> d;
  load_rows(mean, deconv, columns.features, row_step, d);
  float const own_mean = thread < columns.features ? __ldg(mean + thread) : 0.0f;
  XTile<T, kPadded> x;
  load_tile<kWhole>(columns, tile, x);
  WhitenTables<T, kPadded> tables;
  if (thread < kPadded) {
    tables.mean[thread] = own_mean;
  }
  while (row_step < Shape::kSteps) {
    lay_out_rows(tables, row_step, d);
    row_step += kWhitenWarps;
    load_rows(mean, deconv, columns.features, row_step, d);
  }
  __syncthreads();
  while (tile < tiles) {
    whiten_tile<kWhole>(tables, columns, tile, x);
    tile += gridDim.x * kWhitenWarps;
    load_tile<kWhole>(columns, tile, x);
  }
#endif
}

}  // namespace nd

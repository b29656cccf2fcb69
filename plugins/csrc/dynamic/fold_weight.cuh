// The folded weight of more than 64 features a block: one product of split matrices.
//
// W is rearranged into a row (o, s) for each vector of each output channel, so that W (D (x) I_S)
// is one product with D; the rearrangement back is part of the product's last step.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "fold_small.cuh"
#include "newton_schulz.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"
#include "split_half.cuh"
#include "split_product.cuh"
#include "thresholds.cuh"
#include "types.cuh"

namespace nd {

constexpr int kWeightThreads = 256;
constexpr int kBiasThreads = 128;

// Row o S + s holds vector s of output channel o, scaled by a power of two of its channel.
struct SplitWeight {
  __half* rows;
  std::int64_t pitch;
  float* unscale;  // (O)
  float* shifts;   // (column tiles, O S): W' mean, summed over a tile's columns
  bool large;
};

inline SplitWeight take_split_weight(Workspace& workspace, WeightLayout const& layout) {
  SplitWeight weight{};
  std::int64_t const rows = std::int64_t{layout.outputs} * layout.shared;
  std::int64_t const group_rows = std::int64_t{layout.group_outputs} * layout.shared;
  std::int64_t const large_tiles = divide_up(group_rows, LargeTile::kRows) *
                                   divide_up(layout.features, LargeTile::kColumns) * layout.groups;
  weight.large = layout.features >= kLargeFeatures && large_tiles >= kLargeFoldTiles;
  weight.pitch = split_pitch(layout.features);
  weight.rows = take_split_rows(workspace, rows, layout.features);
  weight.unscale = workspace.take<float>(layout.outputs);
  int const columns = weight.large ? LargeTile::kColumns : MediumTile::kColumns;
  weight.shifts = workspace.take<float>(divide_up(layout.features, columns) * rows);
  return weight;
}

// Block o: output channel o, with zeros behind the last feature.
static __global__ void __launch_bounds__(kWeightThreads)
    split_weight_kernel(float const* weight, WeightLayout layout, SplitWeight split) {
  __shared__ float scratch[kWeightThreads / 32];
  int const output = blockIdx.x;
  std::int64_t const entries = std::int64_t{layout.features} * layout.shared;
  float const* const channel = weight + output * entries;
  float largest = 0.0f;
  for (std::int64_t i = threadIdx.x; i < entries; i += kWeightThreads) {
    largest = fmaxf(largest, fabsf(channel[i]));
  }
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) {
    scratch[threadIdx.x / 32] = largest;
  }
  __syncthreads();
  for (int warp = 0; warp < kWeightThreads / 32; ++warp) {
    largest = fmaxf(largest, scratch[warp]);
  }
  PowerOfTwo const power = power_below(largest);
  if (threadIdx.x == 0) {
    split.unscale[output] = power.value;
  }

  int const padded = static_cast<int>(split.pitch / 2);
  for (std::int64_t i = threadIdx.x; i < std::int64_t{padded} * layout.shared;
       i += kWeightThreads) {
    int const vector = static_cast<int>(i / padded);
    int const feature = static_cast<int>(i % padded);
    float const value = feature < layout.features
                            ? channel[std::int64_t{feature} * layout.shared + vector]
                            : 0.0f;
    SplitHalf const parts = split_half(value * power.inverse);
    std::int64_t const row = std::int64_t{output} * layout.shared + vector;
    __half* const to = split.rows + row * split.pitch + high_offset(feature);
    to[0] = parts.high;
    to[kPiece] = parts.low;
  }
}

// Block (i, j, g): rows of tile i and columns of tile j of group g.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    fold_product_kernel(SplitWeight split, WeightLayout layout, SplitMatrix root, float root_scale,
                        float const* norm, float const* mean, Rounded folded_weight) {
  int const features = layout.features;
  int const group = blockIdx.z;
  int const group_rows = layout.group_outputs * layout.shared;
  int const first_row = blockIdx.x * Tile::kRows;
  int const first_column = blockIdx.y * Tile::kColumns;
  std::int64_t const base = std::int64_t{group} * group_rows + first_row;
  TileOperand const a{split.rows + base * split.pitch, split.pitch};
  TileOperand const b{root.columns + group * root.size + first_column * root.pitch, root.pitch};
  int const pieces = static_cast<int>(divide_up(features, kPiece));
  float* const tile = product_tile<Tile>(a, b, false, 0, pieces);

  float const scale = root_scale / sqrtf(norm[group]);
  int const rows = min(Tile::kRows, group_rows - first_row);
  int const columns = min(Tile::kColumns, features - first_column);
  // Vectors of an output channel are neighbours in the weight, and so are features of one vector.
  bool const along_rows = layout.shared > 1;
  for (int i = threadIdx.x; i < Tile::kRows * Tile::kColumns; i += Tile::kThreads) {
    int const row = along_rows ? i % Tile::kRows : i / Tile::kColumns;
    int const column = along_rows ? i / Tile::kRows : i % Tile::kColumns;
    if (row >= rows || column >= columns) {
      continue;
    }
    std::int64_t const output = (base + row) / layout.shared;
    int const vector = static_cast<int>((base + row) - output * layout.shared);
    float& value = tile[row * Tile::kResultPitch + column];
    value *= scale * split.unscale[output];
    std::int64_t const feature = output * features + first_column + column;
    folded_weight.set(feature * layout.shared + vector, value);
  }
  __syncthreads();
  float const* const means = mean + group * features + first_column;
  float* const shifts =
      split.shifts + blockIdx.y * (std::int64_t{layout.outputs} * layout.shared) + base;
  for (int row = threadIdx.x; row < rows; row += Tile::kThreads) {
    float sum = 0.0f;
    for (int column = 0; column < columns; ++column) {
      sum = fmaf(tile[row * Tile::kResultPitch + column], means[column], sum);
    }
    shifts[row] = sum;
  }
}

// Block o: the bias of output channel o.
template <typename T>
__global__ void __launch_bounds__(kBiasThreads)
    fold_bias_kernel(float const* bias, float const* shifts, WeightLayout layout, int column_tiles,
                     T* folded_bias) {
  __shared__ float scratch[kBiasThreads / 32];
  int const output = blockIdx.x;
  float shift = 0.0f;
  for (std::int64_t i = threadIdx.x; i < std::int64_t{column_tiles} * layout.shared;
       i += kBiasThreads) {
    std::int64_t const tile = i / layout.shared;
    std::int64_t const vector = i % layout.shared;
    shift += shifts[(tile * layout.outputs + output) * layout.shared + vector];
  }
  shift = block_sum(shift, scratch);
  if (threadIdx.x == 0) {
    folded_bias[output] = from_float<T>(bias[output] - shift);
  }
}

inline int launch_split_weight(float const* weight, WeightLayout const& layout,
                               SplitWeight const& split, cudaStream_t stream) {
  return launch(split_weight_kernel, dim3(layout.outputs), dim3(kWeightThreads), 0, stream, weight,
                layout, split);
}

template <typename Tile, typename T>
int launch_fold_product(SplitWeight const& split, float const* bias, WeightLayout const& layout,
                        NewtonSchulz const& iteration, float const* mean, T* folded_weight,
                        T* folded_bias, cudaStream_t stream) {
  std::int64_t const group_rows = std::int64_t{layout.group_outputs} * layout.shared;
  int const column_tiles = static_cast<int>(divide_up(layout.features, Tile::kColumns));
  dim3 const grid(static_cast<unsigned>(divide_up(group_rows, Tile::kRows)), column_tiles,
                  layout.groups);
  int const error = launch(fold_product_kernel<Tile>, grid, dim3(Tile::kThreads),
                           Tile::kSharedBytes, stream, split, layout, iteration.root(),
                           iteration.root_scale(), iteration.norm, mean, rounded(folded_weight));
  return error != 0 ? error
                    : launch(fold_bias_kernel<T>, dim3(layout.outputs), dim3(kBiasThreads), 0,
                             stream, bias, split.shifts, layout, column_tiles, folded_bias);
}

// Folds the inverse root and the mean into the split weight and the bias.
template <typename T>
int launch_fold_weight(SplitWeight const& split, float const* bias, WeightLayout const& layout,
                       NewtonSchulz const& iteration, float const* mean, T* folded_weight,
                       T* folded_bias, cudaStream_t stream) {
  return split.large ? launch_fold_product<LargeTile, T>(split, bias, layout, iteration, mean,
                                                         folded_weight, folded_bias, stream)
                     : launch_fold_product<MediumTile, T>(split, bias, layout, iteration, mean,
                                                          folded_weight, folded_bias, stream);
}

}  // namespace nd

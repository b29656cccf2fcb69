// The covariance of many features: samples are centred and split once, and then multiplied by
// themselves as one large product on tensor cores.
//
// A block of a product could gather and split what it needs by itself, but would repeat for each of
// its samples what is done here once. The split samples stay in the GPU's cache: there are never
// more at a time than kChunkBytes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "arithmetic.cuh"
#include "covariance_parts.cuh"
#include "moments.cuh"
#include "../primitives.cuh"
#include "samples.cuh"
#include "split_half.cuh"
#include "split_product.cuh"
#include "thresholds.cuh"

namespace nd {

constexpr int kLeastChunk = 256;  // samples
constexpr int kSplitThreads = 256;
constexpr int kSplitRows = 8;  // one warp prepares the moments of each
constexpr int kProductBlocks = 264;  // two for each multiprocessor of the largest GPUs
constexpr int kPiecesPerSplit = 4;
constexpr int kMostSplits = 64;

// Scaled samples less their means, a row a feature, `chunk` of them at a time.
struct SplitSamples {
  __half* rows;
  std::int64_t pitch;
  float* mean;     // (groups F)
  float* unscale;  // (groups F)
  int chunk;
};

struct SplitCovariance {
  SplitSamples samples;
  CovarianceParts parts;
  bool large;
};

// How a covariance is cut up with a tile of so many rows. `samples` are those of one chunk.
inline CovarianceParts cut_covariance(SampleLayout const& layout, std::int64_t samples, int tile) {
  int const tiles = static_cast<int>(divide_up(layout.features, tile));
  std::int64_t const most = clamp(divide_up(samples, kPiece * kPiecesPerSplit), 1, kMostSplits);
  CovarianceParts parts{};
  parts.groups = layout.groups;
  parts.pitch = tiles * tile;
  parts.splits = static_cast<int>(
      clamp(kProductBlocks / (std::int64_t{triangle(tiles)} * layout.groups), 1, most));
  return parts;
}

inline std::int64_t elements(CovarianceParts const& parts) {
  return std::int64_t{parts.splits} * parts.groups * parts.pitch * parts.pitch;
}

// Fewer samples never take more memory: what is planned for many serves few.
inline SplitCovariance take_split_covariance(Workspace& workspace, SampleLayout const& layout,
                                             float* mean, float* unscale) {
  SplitCovariance covariance{};
  std::int64_t const rows = layout.rows();
  std::int64_t const fitting = kChunkBytes / (4 * rows) / kPiece * kPiece;
  std::int64_t const most = fitting < kLeastChunk ? kLeastChunk : fitting;
  std::int64_t const chunk = clamp(round_up(layout.samples, kPiece), kLeastChunk, most);
  covariance.samples.chunk = static_cast<int>(chunk);
  covariance.samples.pitch = split_pitch(chunk);
  covariance.samples.rows = take_split_rows(workspace, rows, chunk);
  covariance.samples.mean = mean;
  covariance.samples.unscale = unscale;

  std::int64_t const at_once = layout.samples < chunk ? layout.samples : chunk;
  CovarianceParts const medium = cut_covariance(layout, at_once, MediumTile::kRows);
  CovarianceParts const large = cut_covariance(layout, at_once, LargeTile::kRows);
  covariance.large = layout.features >= kLargeFeatures && at_once >= kPlentifulSamples;
  covariance.parts = covariance.large ? large : medium;
  covariance.parts.unscale = unscale;
  std::int64_t const either =
      elements(medium) > elements(large) ? elements(medium) : elements(large);
  covariance.parts.sums = workspace.take<float>(either);
  return covariance;
}

// Block (i, j): 256 samples of the chunk from `first` on, of 8 rows. Writes zeros behind the last
// sample, up to the end of its piece.
template <typename T>
__global__ void __launch_bounds__(kSplitThreads)
    split_samples_kernel(T const* maps, SampleLayout layout, MomentParts moments, bool centred,
                         int first, SplitSamples samples) {
  __shared__ float means[kSplitRows];
  __shared__ float scales[kSplitRows];
  int const first_row = blockIdx.y * kSplitRows;
  int const warp = threadIdx.x / 32;
  if (first_row + warp < layout.rows()) {
    int const row = first_row + warp;
    Moments const found = warp_moments(moments, row, layout.samples);
    // Without centring what counts is how far samples lie from 0.
    float const bound = centred ? found.distance : found.distance + fabsf(found.mean);
    PowerOfTwo const power = power_below(bound);
    if (threadIdx.x % 32 == 0) {
      means[warp] = centred ? found.mean : 0.0f;
      scales[warp] = power.inverse;
      if (blockIdx.x == 0 && first == 0) {
        samples.mean[row] = found.mean;
        samples.unscale[row] = power.value;
      }
    }
  }
  __syncthreads();

  int const column = blockIdx.x * kSplitThreads + threadIdx.x;
  int const index = first + column;
  bool const there = column < samples.chunk && index < layout.samples;
  if (column >= samples.chunk || (!there && index - layout.samples >= kPiece)) {
    return;
  }
  Sample const sample = layout.sample(there ? index : 0);
  RowTaps<kSplitRows> taps(layout, first_row);
  taps.select(sample.shared);
#pragma unroll
  for (int row = 0; row < kSplitRows; ++row) {
    if (first_row + row >= layout.rows()) {
      break;
    }
    float const value =
        there ? (taps[row].value(maps, layout, sample) - means[row]) * scales[row] : 0.0f;
    SplitHalf const split = split_half(value);
    __half* const to = samples.rows + (first_row + row) * samples.pitch + high_offset(column);
    to[0] = split.high;
    to[kPiece] = split.low;
  }
}

// Block (i, s, g): tile i on or above the diagonal, of split s of the `pieces` in the chunk, of
// group g. With `add` it adds to what earlier chunks left.
template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    covariance_product_kernel(SplitSamples samples, CovarianceParts parts, int features,
                              int pieces, bool add) {
  TrianglePlace const place = triangle_place(blockIdx.x, parts.pitch / Tile::kRows);
  int const first = static_cast<int>(std::int64_t{pieces} * blockIdx.y / gridDim.y);
  int const last = static_cast<int>(std::int64_t{pieces} * (blockIdx.y + 1) / gridDim.y);
  __half const* const rows = samples.rows + std::int64_t{blockIdx.z} * features * samples.pitch;
  TileOperand const a{rows + place.row * Tile::kRows * samples.pitch, samples.pitch};
  TileOperand const b{rows + place.column * Tile::kRows * samples.pitch, samples.pitch};
  float const* const sums = product_tile<Tile>(a, b, place.row == place.column, first, last);

  std::int64_t const plane = std::int64_t{parts.pitch} * parts.pitch;
  float* const to = parts.sums + (std::int64_t{blockIdx.y} * parts.groups + blockIdx.z) * plane +
                    place.row * Tile::kRows * std::int64_t{parts.pitch} +
                    place.column * Tile::kColumns;
  for (int i = threadIdx.x; i < Tile::kRows * Tile::kColumns; i += Tile::kThreads) {
    int const row = i / Tile::kColumns;
    int const column = i % Tile::kColumns;
    float const sum = sums[row * Tile::kResultPitch + column];
    float& element = to[std::int64_t{row} * parts.pitch + column];
    element = add ? element + sum : sum;
  }
}

template <typename Tile>
int launch_covariance_product(SplitCovariance const& covariance, SampleLayout const& layout,
                              int pieces, bool add, cudaStream_t stream) {
  dim3 const grid(triangle(covariance.parts.pitch / Tile::kRows), covariance.parts.splits,
                  layout.groups);
  return launch(covariance_product_kernel<Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes,
                stream, covariance.samples, covariance.parts, layout.features, pieces, add);
}

template <typename T>
int launch_split_covariance(T const* maps, SampleLayout const& layout, MomentParts const& moments,
                            bool centred, SplitCovariance const& covariance, cudaStream_t stream) {
  int const chunk = covariance.samples.chunk;
  for (int first = 0; first < layout.samples; first += chunk) {
    int const count = layout.samples - first < chunk ? layout.samples - first : chunk;
    dim3 const grid(static_cast<unsigned>(divide_up(round_up(count, kPiece), kSplitThreads)),
                    static_cast<unsigned>(divide_up(layout.rows(), kSplitRows)));
    int error = launch(split_samples_kernel<T>, grid, dim3(kSplitThreads), 0, stream, maps, layout,
                       moments, centred, first, covariance.samples);
    if (error != 0) {
      return error;
    }
    int const pieces = static_cast<int>(divide_up(count, kPiece));
    error = covariance.large ? launch_covariance_product<LargeTile>(covariance, layout, pieces,
                                                                    first > 0, stream)
                             : launch_covariance_product<MediumTile>(covariance, layout, pieces,
                                                                     first > 0, stream);
    if (error != 0) {
      return error;
    }
  }
  return 0;
}

}  // namespace nd

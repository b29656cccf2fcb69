// Newton-Schulz steps on matrices of more than 64 rows: a launch for each product or two.
//
// Y, Z and T are symmetric polynomials of A, so that up to kSymmetricSteps only the tiles on or
// above the diagonal are computed: half the work. That is not exact, and not harmless for ever. An
// error of Y_k that does not commute with A, thus made symmetric, is multiplied in the next step by
// up to cond(Z_k) / 8 <= 1.5^k / 8, which stays below 1 in 6 steps whatever A is, but makes the
// iteration diverge in 15 of an ill-conditioned A. Beyond, all tiles are computed, in the order in
// which the iteration is stable, and every matrix is kept by rows and by columns.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "arithmetic.cuh"
#include "covariance_parts.cuh"
#include "newton_schulz_products.cuh"
#include "newton_schulz_steps.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"
#include "split_half.cuh"
#include "split_product.cuh"
#include "thresholds.cuh"

namespace nd {

constexpr int kSymmetricSteps = 6;
constexpr int kNormaliseThreads = 256;

// The entries of Z_k are below 1.5^k, which is more than float16 holds from the 28th step on.
inline int root_exponent(int step) {
  return static_cast<int>(clamp(static_cast<int>(0.58496 * step) - 14, 0, 8));
}

inline float power_of_two(int exponent) {
  return exponent < 0 ? 1.0f / static_cast<float>(1 << -exponent)
                      : static_cast<float>(1 << exponent);
}

struct NewtonSchulz {
  SplitMatrix y[2], z[2], e;
  float* norm;      // (groups): |A|
  int size;         // rows and columns, a multiple of the tile's
  int tile;
  bool symmetric;
  int n_iter;

  // Z_n, whose entries times `root_scale` / sqrt(norm) are the inverse root's.
  SplitMatrix const& root() const { return z[n_iter > 1 ? (n_iter - 1) % 2 : 0]; }
  float root_scale() const { return power_of_two(root_exponent(n_iter)); }
};

inline NewtonSchulz take_newton_schulz(Workspace& workspace, Moment const& moment, int n_iter) {
  NewtonSchulz iteration{};
  iteration.n_iter = n_iter;
  iteration.symmetric = n_iter <= kSymmetricSteps;
  int const medium = static_cast<int>(divide_up(moment.features, MediumTile::kRows));
  int const tiles = iteration.symmetric ? triangle(medium) : medium * medium;
  iteration.tile = tiles * std::int64_t{moment.groups} < kFewTiles ? SmallTile::kRows
                                                                   : MediumTile::kRows;
  iteration.size = static_cast<int>(round_up(moment.features, iteration.tile));
  iteration.norm = workspace.take<float>(moment.groups);
  for (SplitMatrix* matrix :
       {&iteration.y[0], &iteration.y[1], &iteration.z[0], &iteration.z[1], &iteration.e}) {
    *matrix = take_split_matrix(workspace, moment.groups, iteration.size, iteration.symmetric);
  }
  return iteration;
}

// Block (i, g): Y_0, Z_1 and E_1 of group g, or Z_0 where no step follows. They are symmetric to
// the bit, like A, and the identity behind the last feature, where T is the identity too: every
// matrix stays what it is there, however many steps follow.
static __global__ void __launch_bounds__(kNormaliseThreads)
    normalise_kernel(Moment moment, NewtonSchulz iteration) {
  __shared__ float scratch[kNormaliseThreads / 32];
  int const group = blockIdx.y;
  float const norm = sqrtf(block_sum_of(moment.squares + std::int64_t{group} * moment.norm_parts,
                                        moment.norm_parts, scratch));
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    iteration.norm[group] = norm;
  }
  int const size = iteration.size;
  std::int64_t const run = std::int64_t{blockIdx.x} * kNormaliseThreads + threadIdx.x;
  int const row = static_cast<int>(run / (size / kRun));
  int const first = static_cast<int>(run % (size / kRun)) * kRun;
  if (row >= size) {
    return;
  }
  std::int64_t const from =
      (std::int64_t{group} * moment.features + row) * moment.features + first;
  bool const stays = iteration.n_iter == 0;
  float y[kRun], z[kRun], e[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    bool const inside = row < moment.features && first + i < moment.features;
    float const identity = row == first + i ? 1.0f : 0.0f;
    y[i] = inside ? moment.values[from + i] / norm : identity;
    z[i] = stays ? identity : 1.5f * identity - 0.5f * y[i];
    e[i] = (1.5f - kCentre) * identity - 0.5f * y[i];
  }
  std::int64_t const to = group * iteration.e.size + row * iteration.e.pitch + high_offset(first);
  store_split_run(y, iteration.y[0].rows + to);
  store_split_run(z, iteration.z[0].rows + to);
  store_split_run(e, iteration.e.rows + to);
  if (!iteration.symmetric) {
    store_split_run(y, iteration.y[0].columns + to);
    store_split_run(z, iteration.z[0].columns + to);
    store_split_run(e, iteration.e.columns + to);
  }
}

template <typename Tile>
int launch_root_products(NewtonSchulz const& iteration, Moment const& moment,
                         RootProducts const& both, int count, cudaStream_t stream) {
  int const tiles = iteration.size / Tile::kRows;
  int const pieces = static_cast<int>(divide_up(moment.features, kPiece));
  dim3 const grid(iteration.symmetric ? triangle(tiles) : tiles * tiles, count, moment.groups);
  return launch(newton_schulz_product_kernel<Tile>, grid, dim3(Tile::kThreads),
                Tile::kSharedBytes, stream, both, tiles, pieces, iteration.symmetric);
}

inline int launch_products(NewtonSchulz const& iteration, Moment const& moment,
                           RootProduct const& first, RootProduct const* second,
                           cudaStream_t stream) {
  RootProducts const both{{first, second == nullptr ? first : *second}};
  int const count = second == nullptr ? 1 : 2;
  return iteration.tile == MediumTile::kRows
             ? launch_root_products<MediumTile>(iteration, moment, both, count, stream)
             : launch_root_products<SmallTile>(iteration, moment, both, count, stream);
}

// Y T.
inline RootProduct product_to_y(SplitMatrix const& y, SplitMatrix const& e,
                                SplitMatrix const& next) {
  return {y, e, next, 1.0f, 0.0f, y.rows, kCentre};
}

// The E that follows from Z_step and Y.
inline RootProduct product_to_e(SplitMatrix const& z, SplitMatrix const& y, SplitMatrix const& e,
                                int step) {
  return {z, y, e, -0.5f * power_of_two(root_exponent(step)), 1.5f - kCentre, nullptr, 0.0f};
}

// T Z_step.
inline RootProduct product_to_z(SplitMatrix const& e, SplitMatrix const& z, SplitMatrix const& next,
                                int step) {
  float const scale = power_of_two(root_exponent(step) - root_exponent(step + 1));
  return {e, z, next, scale, 0.0f, z.rows, kCentre * scale};
}

// Estimates the inverse root of every group's matrix: root() and norm.
inline int launch_newton_schulz(NewtonSchulz const& iteration, Moment const& moment,
                                cudaStream_t stream) {
  std::int64_t const runs = std::int64_t{iteration.size} * iteration.size / kRun;
  dim3 const grid(static_cast<unsigned>(divide_up(runs, kNormaliseThreads)), moment.groups);
  int error = launch(normalise_kernel, grid, dim3(kNormaliseThreads), 0, stream, moment, iteration);
  SplitMatrix y = iteration.y[0], next_y = iteration.y[1];
  SplitMatrix z = iteration.z[0], next_z = iteration.z[1];
  SplitMatrix const& e = iteration.e;
  if (error == 0 && iteration.n_iter > 1) {
    error = launch_products(iteration, moment, product_to_y(y, e, next_y), nullptr, stream);
    std::swap(y, next_y);
  }
  for (int step = 1; error == 0 && step < iteration.n_iter; ++step) {
    error = launch_products(iteration, moment, product_to_e(z, y, e, step), nullptr, stream);
    if (error == 0) {
      RootProduct const to_y = product_to_y(y, e, next_y);
      bool const last = step + 1 == iteration.n_iter;
      error = launch_products(iteration, moment, product_to_z(e, z, next_z, step),
                              last ? nullptr : &to_y, stream);
    }
    std::swap(y, next_y);
    std::swap(z, next_z);
  }
  return error;
}

}  // namespace nd

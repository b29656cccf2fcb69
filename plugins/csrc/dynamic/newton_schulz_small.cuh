// Newton-Schulz steps on matrices of up to 64 rows: a block each, which keeps all of them in its
// shared memory, in float32. The steps are those of newton_schulz_steps.cuh.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "covariance_parts.cuh"
#include "newton_schulz_steps.cuh"
#include "../primitives.cuh"
#include "reductions.cuh"

namespace nd {

// A square matrix of kSize rows in shared memory. A thread computes kRows rows of four columns; the
// quads of a row are permuted so that neither operand's reads meet in a bank.
template <int kSize, int kRows>
class SmallMatrix {
 public:
  static constexpr int kQuads = kSize / 4;
  static constexpr int kThreads = kQuads * (kSize / kRows);
  static constexpr int kFloats = kSize * kSize;

  // What a thread holds of a matrix.
  struct Part {
    float values[kRows][4] = {};
  };

  __device__ explicit SmallMatrix(float* values) : values_(values) {}

  __device__ __forceinline__ Vector<float, 4> quad(int row, int quad) const {
    return load_vector<float, 4>(values_ + offset(row, quad));
  }

  __device__ __forceinline__ Part part() const {
    Part part;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      auto const row = quad(first_row() + i, own_quad());
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        part.values[i][j] = row.values[j];
      }
    }
    return part;
  }

  __device__ __forceinline__ void set(Part const& part) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      Vector<float, 4> row;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        row.values[j] = part.values[i][j];
      }
      store_vector(values_ + offset(first_row() + i, own_quad()), row);
    }
  }

  // The thread's part of this matrix times `right`, of which `quads` quads are not zero.
  __device__ __forceinline__ Part times(SmallMatrix const& right, int quads) const {
    constexpr int kSummed = 4;  // quads that are added up before they are added to the rest
    Part total;
    for (int first = 0; first < quads; first += kSummed) {
      Part sum;
      for (int k = first; k < min(first + kSummed, quads); ++k) {
        Vector<float, 4> left[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          left[i] = quad(first_row() + i, k);
        }
#pragma unroll
        for (int inner = 0; inner < 4; ++inner) {
          auto const row = right.quad(4 * k + inner, own_quad());
#pragma unroll
          for (int i = 0; i < kRows; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              sum.values[i][j] = fmaf(left[i].values[inner], row.values[j], sum.values[i][j]);
            }
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          total.values[i][j] += sum.values[i][j];
        }
      }
    }
    return total;
  }

  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / kQuads * kRows; }
  __device__ static int own_quad() { return static_cast<int>(threadIdx.x) % kQuads; }
  __device__ static bool on_diagonal(int i, int j) { return first_row() + i == 4 * own_quad() + j; }

  // scale * part, and `diagonal` more on the diagonal.
  __device__ static Part combined(Part const& part, float scale, float diagonal) {
    Part result;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        result.values[i][j] = scale * part.values[i][j] + (on_diagonal(i, j) ? diagonal : 0.0f);
      }
    }
    return result;
  }

  // The part of a product with T, from that of the same matrix and of its product with E.
  __device__ static Part with_centre(Part const& part, Part const& product) {
    Part result;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        result.values[i][j] = fmaf(kCentre, part.values[i][j], product.values[i][j]);
      }
    }
    return result;
  }

 private:
  __device__ static int offset(int row, int quad) {
    return row * kSize + 4 * (quad ^ (row / kRows % kQuads));
  }

  float* values_;
};

// Block g: deconv (F, F) of group g.
template <int kSize, int kRows>
__global__ void __launch_bounds__(SmallMatrix<kSize, kRows>::kThreads, 1)
    newton_schulz_small_kernel(Moment moment, int n_iter, float* deconv) {
  using Matrix = SmallMatrix<kSize, kRows>;
  using Part = typename Matrix::Part;
  __align__(16) __shared__ float storage[3][Matrix::kFloats];
  Matrix y(storage[0]), z(storage[1]), e(storage[2]);
  int const features = moment.features;
  int const quads = (features + 3) / 4;
  std::int64_t const matrix = std::int64_t{blockIdx.x} * features * features;

  // E is not in use yet.
  float const norm = sqrtf(block_sum_of(
      moment.squares + std::int64_t{blockIdx.x} * moment.norm_parts, moment.norm_parts,
      storage[2]));
  Part y_part;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      int const row = Matrix::first_row() + i;
      int const column = 4 * Matrix::own_quad() + j;
      bool const inside = row < features && column < features;
      // Behind the last feature T is the identity, and no number of steps changes anything.
      float const behind = row == column ? 1.0f : 0.0f;
      y_part.values[i][j] =
          inside ? moment.values[matrix + std::int64_t{row} * features + column] / norm : behind;
    }
  }
  // Z is the identity up to now, which saves the first step both products with it.
  Part z_part = Matrix::combined(y_part, n_iter == 0 ? 0.0f : -0.5f, n_iter == 0 ? 1.0f : 1.5f);
  __syncthreads();
  y.set(y_part);
  z.set(z_part);
  e.set(Matrix::combined(y_part, -0.5f, 1.5f - kCentre));
  __syncthreads();
  for (int step = 1; step < n_iter; ++step) {
    y_part = Matrix::with_centre(y_part, y.times(e, quads));
    __syncthreads();
    y.set(y_part);
    __syncthreads();
    e.set(Matrix::combined(z.times(y, quads), -0.5f, 1.5f - kCentre));
    __syncthreads();
    z_part = Matrix::with_centre(z_part, e.times(z, quads));
    __syncthreads();
    z.set(z_part);
    __syncthreads();
  }

  float const scale = sqrtf(norm);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      int const row = Matrix::first_row() + i;
      int const column = 4 * Matrix::own_quad() + j;
      if (row < features && column < features) {
        deconv[matrix + std::int64_t{row} * features + column] = z_part.values[i][j] / scale;
      }
    }
  }
}

template <int kSize, int kRows>
int launch_newton_schulz_of_size(Moment const& moment, int n_iter, float* deconv,
                                 cudaStream_t stream) {
  return launch(newton_schulz_small_kernel<kSize, kRows>, dim3(moment.groups),
                dim3(SmallMatrix<kSize, kRows>::kThreads), 0, stream, moment, n_iter, deconv);
}

// Estimates every group's inverse root, (groups, F, F), for F up to 64.
inline int launch_newton_schulz_small(Moment const& moment, int n_iter, float* deconv,
                                      cudaStream_t stream) {
  if (moment.features <= 16) {
    return launch_newton_schulz_of_size<16, 2>(moment, n_iter, deconv, stream);
  }
  if (moment.features <= 32) {
    return launch_newton_schulz_of_size<32, 2>(moment, n_iter, deconv, stream);
  }
  return launch_newton_schulz_of_size<64, 4>(moment, n_iter, deconv, stream);
}

}  // namespace nd

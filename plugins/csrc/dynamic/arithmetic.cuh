// Small arithmetic that plans and kernels share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace nd {

__host__ __device__ constexpr std::int64_t divide_up(std::int64_t number, std::int64_t by) {
  return (number + by - 1) / by;
}

constexpr std::int64_t round_up(std::int64_t number, std::int64_t to) {
  return divide_up(number, to) * to;
}

constexpr std::int64_t clamp(std::int64_t number, std::int64_t low, std::int64_t high) {
  return number < low ? low : number > high ? high : number;
}

// How many of the places of a square of count x count lie on or above the diagonal.
__host__ __device__ constexpr int triangle(int count) { return count * (count + 1) / 2; }

struct TrianglePlace {
  int row, column;
};

// The places on or above the diagonal, counted row by row.
__device__ __forceinline__ TrianglePlace triangle_place(int index, int count) {
  int row = 0;
  while (index >= count - row) {
    index -= count - row;
    ++row;
  }
  return {row, row + index};
}

}  // namespace nd

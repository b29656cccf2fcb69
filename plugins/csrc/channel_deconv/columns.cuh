// x and y of the whitened channels as the columns of one matrix.
//
// Channel b G + g at position p is feature b of column g P + p, and in memory (batch, features,
// G P): the columns of an image lie side by side in each feature's row. All images' columns are
// counted through, so that small images fill a tile together.
#pragma once

#include <cstdint>

#include "../primitives.cuh"

namespace nd {

// A launch gets few enough columns to count them in 32 bits; larger problems are cut up.
template <typename T>
struct Columns {
  T const* x;
  T* y;
  std::uint32_t count;        // of all images
  std::uint32_t per_image;
  std::int64_t row_stride;    // G P: the distance between features, in elements
  std::int64_t image_stride;  // the distance between images, in elements
  int features;
  float floor;  // what is below becomes this: 0, or minus infinity
};

// A run of neighbouring columns; it may go over into the next image.
struct Run {
  std::int64_t offset;   // of its first column's feature 0, in elements
  std::uint32_t within;  // which of its image's columns the first one is
  int valid;             // how many of its columns exist
};

template <typename T>
__device__ __forceinline__ Run locate(Columns<T> const& columns, std::uint32_t first, int width) {
  if (first >= columns.count) {
    return {0, 0, 0};
  }
  std::uint32_t const image = first / columns.per_image;
  std::uint32_t const within = first - image * columns.per_image;
  std::uint32_t const remaining = columns.count - first;
  return {image * columns.image_stride + within, within,
          remaining < static_cast<std::uint32_t>(width) ? static_cast<int>(remaining) : width};
}

// Calls visit(i, offset) for each column of a run that exists, `offset` from its first column.
template <int Width, typename T, typename Visit>
__device__ __forceinline__ void walk(Columns<T> const& columns, Run const& run, Visit visit) {
  std::int64_t offset = 0;
  std::uint32_t within = run.within;
#pragma unroll
  for (int i = 0; i < Width; ++i) {
    if (i < run.valid) {
      visit(i, offset);
    }
    ++offset;
    if (++within == columns.per_image) {
      within = 0;
      offset += columns.image_stride - columns.per_image;
    }
  }
}

// A run's elements of one feature as they lie in memory, and how to take them apart.
template <typename T, int Width>
struct RunWords {
  static constexpr int kWords = Width * static_cast<int>(sizeof(T)) / 4;
  std::uint32_t words[kWords];

  __device__ __forceinline__ std::uint32_t bits(int i) const {
    if constexpr (sizeof(T) == 4) {
      return words[i];
    } else {
      return i % 2 == 0 ? words[i / 2] & 0xffffu : words[i / 2] >> 16;
    }
  }

  __device__ __forceinline__ void set_bits(int i, std::uint32_t bits) {
    if constexpr (sizeof(T) == 4) {
      words[i] = bits;
    } else {
      words[i / 2] |= bits << 16 * (i % 2);
    }
  }
};

__device__ __forceinline__ std::uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ __forceinline__ std::uint32_t bits_of(__half value) { return __half_as_ushort(value); }
__device__ __forceinline__ std::uint32_t bits_of(__nv_bfloat16 value) {
  return __bfloat16_as_ushort(value);
}

// One feature of a run of columns, `row` pointing at the first; zeros where a column or all of them
// do not exist. With `kWhole`, a run that begins at a multiple of its width is an aligned vector.
template <bool kWhole, int Width, typename T>
__device__ __forceinline__ RunWords<T, Width> load_run(Columns<T> const& columns, Run const& run,
                                                       T const* row, bool exists) {
  RunWords<T, Width> loaded{};
  if (exists) {
    if constexpr (kWhole) {
      load_once(row, loaded.words);
    } else {
      walk<Width>(columns, run, [&](int i, std::int64_t offset) {
        loaded.set_bits(i, bits_of(row[offset]));
      });
    }
  }
  return loaded;
}

// Rounds and writes one feature of a run of columns, as far as they exist.
template <bool kWhole, int Width, typename T>
__device__ __forceinline__ void store_run(Columns<T> const& columns, Run const& run, T* row,
                                          float const (&results)[Width]) {
  if (run.valid == 0) {
    return;
  }
  Vector<T, Width> values;
#pragma unroll
  for (int i = 0; i < Width; ++i) {
    // NaN is not below anything and stays.
    values.values[i] = from_float<T>(results[i] < columns.floor ? columns.floor : results[i]);
  }
  if constexpr (kWhole) {
    store_vector(row, values);
  } else {
    walk<Width>(columns, run, [&](int i, std::int64_t offset) { row[offset] = values.values[i]; });
  }
}

}  // namespace nd

// The channels that fill no block: one scale and shift for all of them.
#pragma once

#include <cstdint>

#include "../primitives.cuh"

namespace nd {

// The leftover channels of each image are one contiguous piece.
template <typename T>
struct Leftover {
  T const* x;  // of the first image's first leftover channel
  T* y;
  std::int64_t images;
  std::int64_t per_image;     // elements of an image's leftover channels
  std::int64_t image_stride;  // the distance between images, in elements
  float floor;  // what is below becomes this: 0, or minus infinity
};

inline constexpr int kLeftoverThreads = 256;

// (x - mean) scale, `kWidth` elements at a time; per_image and image_stride are multiples of it.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kLeftoverThreads)
    scale_leftover(Leftover<T> leftover, float const* mean, float const* scale) {
  std::int64_t const per_image = leftover.per_image / kWidth;
  std::int64_t const count = per_image * leftover.images;
  std::int64_t const stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  float const shift_by = *mean;
  float const scale_by = *scale;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i < count; i += stride) {
    std::int64_t const image = i / per_image;
    std::int64_t const offset = image * leftover.image_stride + (i - image * per_image) * kWidth;
    auto values = load_vector<T, kWidth>(leftover.x + offset);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      float const value = (to_float(values.values[j]) - shift_by) * scale_by;
      values.values[j] = from_float<T>(value < leftover.floor ? leftover.floor : value);
    }
    store_vector(leftover.y + offset, values);
  }
}

}  // namespace nd

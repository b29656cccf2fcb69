// How D and x become operands of tensor cores without losing what float32 would have kept.
//
// D is split into parts of 8 or 11 bits, whose sum is D to float32's last place:
//   float32   x - mean and D are three bfloat16 parts each. Of the nine products of parts the six
//             larger ones are formed; the rest is below 2^-24 of |D| |x - mean|. That is as many
//             tensor core cycles as three TF32 products take, which leave 2^-22.
//   bfloat16  x is one part as it is, D three: no product is left out.
//   float16   x is one part as it is, D two float16 parts. A row of D is first scaled by a power of
//             two: its largest element is then in [2^14, 2^15), and no part underflows that counts.
// 16-bit x cannot be centred without rounding it, so there y = D x - D mean. In emulation, with
// terms of one sign that the mean cancels, y's error before its rounding was 2^-21 of the sum of
// |D| (|x| + |mean|) for 64 features of float16, 2^-20 for 128, and 2^-22 of bfloat16, from tensor
// cores' truncation. To show beside the rounding of a float16 y, the sum has to be 500 times y.
#pragma once

#include <cstdint>

#include "../primitives.cuh"

namespace nd {

template <typename T>
struct Operands;

template <>
struct Operands<float> {
  static constexpr int kXParts = 3, kDParts = 3, kProducts = 6;
  static constexpr bool kCentred = true, kScaled = false, kRoundedAdds = true;

  // The parts that a product multiplies, smallest product first: 0 is the leading part.
  __host__ __device__ static constexpr int d_part(int product) {
    return product == 0 ? 2 : product == 2 || product == 3 ? 1 : 0;
  }
  __host__ __device__ static constexpr int x_part(int product) {
    return product == 1 ? 2 : product == 2 || product == 4 ? 1 : 0;
  }
  __device__ static void multiply(float (&d)[4], std::uint32_t const (&a)[4],
                                  std::uint32_t const (&b)[2]) {
    mma_bf16(d, a, b);
  }
};

template <>
struct Operands<__nv_bfloat16> {
  static constexpr int kXParts = 1, kDParts = 3, kProducts = 3;
  static constexpr bool kCentred = false, kScaled = false, kRoundedAdds = false;

  __host__ __device__ static constexpr int d_part(int product) { return 2 - product; }
  __host__ __device__ static constexpr int x_part(int) { return 0; }
  __device__ static void multiply(float (&d)[4], std::uint32_t const (&a)[4],
                                  std::uint32_t const (&b)[2]) {
    mma_bf16(d, a, b);
  }
};

template <>
struct Operands<__half> {
  static constexpr int kXParts = 1, kDParts = 2, kProducts = 2;
  static constexpr bool kCentred = false, kScaled = true, kRoundedAdds = false;

  __host__ __device__ static constexpr int d_part(int product) { return 1 - product; }
  __host__ __device__ static constexpr int x_part(int) { return 0; }
  __device__ static void multiply(float (&d)[4], std::uint32_t const (&a)[4],
                                  std::uint32_t const (&b)[2]) {
    mma_f16(d, a, b);
  }
};

// The leading bfloat16 parts of two values, packed; the values become what is left.
__device__ __forceinline__ std::uint32_t take_bf16(float& first, float& second) {
  std::uint32_t const packed = pack_bf16(first, second);
  float2 const taken = unpack_bf16(packed);
  first -= taken.x;
  second -= taken.y;
  return packed;
}

__device__ __forceinline__ std::uint32_t take_f16(float& first, float& second) {
  std::uint32_t const packed = pack_f16(first, second);
  float2 const taken = unpack_f16(packed);
  first -= taken.x;
  second -= taken.y;
  return packed;
}

// The next part of two elements of D, in the type that T's products take.
template <typename T>
__device__ __forceinline__ std::uint32_t take_d_part(float& first, float& second) {
  if constexpr (Operands<T>::kScaled) {
    return take_f16(first, second);
  } else {
    return take_bf16(first, second);
  }
}

// The parts of x as T's operand for one column's elements of two features, given as their bits.
template <typename T>
__device__ __forceinline__ void split_x(std::uint32_t first, std::uint32_t second, float2 mean,
                                        std::uint32_t (&parts)[Operands<T>::kXParts]) {
  if constexpr (Operands<T>::kCentred) {
    float front = __uint_as_float(first) - mean.x;
    float back = __uint_as_float(second) - mean.y;
#pragma unroll
    for (int part = 0; part < Operands<T>::kXParts; ++part) {
      parts[part] = take_bf16(front, back);
    }
  } else {
    parts[0] = second << 16 | first;
  }
}

// The power of two that brings `largest` into [2^14, 2^15), if it and its inverse are normal.
__device__ __forceinline__ int scale_exponent(float largest) {
  int const exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 127;
  int const wanted = 14 - exponent;
  return wanted > 126 ? 126 : wanted < -126 ? -126 : wanted;
}

__device__ __forceinline__ float power_of_two(int exponent) {
  return __uint_as_float(static_cast<unsigned>(exponent + 127) << 23);
}

}  // namespace nd

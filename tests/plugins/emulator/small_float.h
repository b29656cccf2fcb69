// float16 and bfloat16 in software, rounding to nearest even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace nd_emulator {

inline std::uint32_t float_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float bits_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline std::uint16_t float_to_half(float value) {
  std::uint32_t const bits = float_bits(value);
  auto const sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  std::uint32_t const magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return 0x7fff;
  }
  if (magnitude >= 0x477ff000u) {  // from 65520 on, the next value would be 65536
    return sign | 0x7c00;
  }
  if (magnitude < 0x38800000u) {  // subnormal: multiples of 2^-24, and the scaling is exact
    float const scaled = bits_float(magnitude) * 16777216.0f;
    return sign | static_cast<std::uint16_t>(std::nearbyint(scaled));
  }
  std::uint32_t const rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return sign | static_cast<std::uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float half_to_float(std::uint16_t half) {
  std::uint32_t const sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  std::uint32_t const magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) {
    return bits_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  if (magnitude < 0x400u) {
    float const value = static_cast<float>(magnitude) / 16777216.0f;
    return sign ? -value : value;
  }
  return bits_float(sign | ((magnitude << 13) + 0x38000000u));
}

inline std::uint16_t float_to_bfloat16(float value) {
  std::uint32_t const bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return 0x7fff;
  }
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline float bfloat16_to_float(std::uint16_t bits) {
  return bits_float(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace nd_emulator

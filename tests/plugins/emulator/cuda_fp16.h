// CUDA's __half as storage with conversions; arithmetic is to be done in float.
#pragma once

#include "small_float.h"

struct __half {
  std::uint16_t bits;
};
using half = __half;

inline __half __float2half_rn(float value) { return {nd_emulator::float_to_half(value)}; }
inline __half __float2half(float value) { return __float2half_rn(value); }
inline float __half2float(__half value) { return nd_emulator::half_to_float(value.bits); }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

// Between float and the storage types, one by one and packed in pairs.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace nd {

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

// Rounds to nearest, ties to even.
template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) { return value; }
template <>
__device__ __forceinline__ __half from_float<__half>(float value) { return __float2half_rn(value); }
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Two float16 values in a word, the first in the low half, as mma's operands are.
__device__ __forceinline__ std::uint32_t pack_f16(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  return packed;
#else
  return static_cast<std::uint32_t>(__half_as_ushort(__float2half_rn(second))) << 16 |
         __half_as_ushort(__float2half_rn(first));
#endif
}

// Two bfloat16 values in a word, the first in the low half.
__device__ __forceinline__ std::uint32_t pack_bf16(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  return packed;
#else
  return static_cast<std::uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(second))) << 16 |
         __bfloat16_as_ushort(__float2bfloat16_rn(first));
#endif
}

__device__ __forceinline__ float2 unpack_f16(std::uint32_t packed) {
  return make_float2(__half2float(__ushort_as_half(static_cast<unsigned short>(packed & 0xffffu))),
                     __half2float(__ushort_as_half(static_cast<unsigned short>(packed >> 16))));
}

__device__ __forceinline__ float2 unpack_bf16(std::uint32_t packed) {
  return make_float2(__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u));
}

// The nearest TF32 value (10 bits of fraction), ties away from zero, as a float's bits.
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
#else
  std::uint32_t const bits = __float_as_uint(value);
  bool const finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & 0xffffe000u;
#endif
}

}  // namespace nd

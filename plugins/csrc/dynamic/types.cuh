// From a type's number in the C interface to the C++ type, and back.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "../launchers.h"
#include "../primitives.cuh"

namespace nd {

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls function(TypeTag<T>) with the T that `type` stands for.
template <typename Function>
int with_type(int type, Function function) {
  switch (type) {
    case ND_FLOAT32:
      return function(TypeTag<float>{});
    case ND_FLOAT16:
      return function(TypeTag<__half>{});
    case ND_BFLOAT16:
      return function(TypeTag<__nv_bfloat16>{});
    default:
      return ND_ERROR_TYPE;
  }
}

// An array of a type that is chosen when a kernel runs, so that a large kernel is compiled once.
struct Rounded {
  void* values;
  int type;

  __device__ __forceinline__ void set(std::int64_t index, float value) const {
    if (type == ND_FLOAT32) {
      static_cast<float*>(values)[index] = value;
    } else if (type == ND_FLOAT16) {
      static_cast<__half*>(values)[index] = from_float<__half>(value);
    } else {
      static_cast<__nv_bfloat16*>(values)[index] = from_float<__nv_bfloat16>(value);
    }
  }
};

inline Rounded rounded(float* values) { return {values, ND_FLOAT32}; }
inline Rounded rounded(__half* values) { return {values, ND_FLOAT16}; }
inline Rounded rounded(__nv_bfloat16* values) { return {values, ND_BFLOAT16}; }

constexpr bool is_type(int type) { return type >= ND_FLOAT32 && type <= ND_BFLOAT16; }

}  // namespace nd

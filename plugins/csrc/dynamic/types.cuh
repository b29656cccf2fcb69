// From a type's number in the C interface to the C++ type.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "launchers.h"

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

constexpr bool is_type(int type) { return type >= ND_FLOAT32 && type <= ND_BFLOAT16; }

}  // namespace nd

// Warp-level matrix products on tensor cores: d += a b in float32.
//
// With lane = 4 g + t, the lanes of a warp hold (PTX ISA, "Matrix Fragments"):
//   d (16 x 8):             d[0], d[1] = row g, columns 2t, 2t+1; d[2], d[3] the same of row g+8
//   a (16 x 16), 16 bits:   a[0] = row g, columns 2t, 2t+1; a[1] = row g+8, the same columns;
//                           a[2] = row g, columns 2t+8, 2t+9; a[3] = row g+8, these columns
//   b (16 x 8), 16 bits:    b[0] = rows 2t, 2t+1 of column g; b[1] = rows 2t+8, 2t+9
//   a (16 x 8), TF32:       a[0] = row g, column t; a[1] = row g+8, column t;
//                           a[2] = row g, column t+4; a[3] = row g+8, column t+4
//   b (8 x 8), TF32:        b[0] = row t of column g; b[1] = row t+4
// Tensor cores truncate where they add: whoever needs float32's accuracy over many products starts
// each one from zero and adds with ordinary additions.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Set where a kernel with such products is to be compiled at all.
#if defined(ND_EMULATED) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
#define ND_TENSOR_CORES 1
#else
#define ND_TENSOR_CORES 0
#endif

#if defined(ND_EMULATED)
#include "emulated_mma.h"
#else

namespace nd {

// Where there are none, has_tensor_core_code says so before a kernel is launched.
#if ND_TENSOR_CORES
#define ND_MMA(shape, types)                                                                   \
  asm("mma.sync.aligned." shape ".row.col." types                                              \
      " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                 \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                         \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#else
#define ND_MMA(shape, types) __trap()
#endif

__device__ __forceinline__ void mma_tf32(float (&d)[4], std::uint32_t const (&a)[4],
                                         std::uint32_t const (&b)[2]) {
  ND_MMA("m16n8k8", "f32.tf32.tf32.f32");
}

__device__ __forceinline__ void mma_f16(float (&d)[4], std::uint32_t const (&a)[4],
                                        std::uint32_t const (&b)[2]) {
  ND_MMA("m16n8k16", "f32.f16.f16.f32");
}

__device__ __forceinline__ void mma_bf16(float (&d)[4], std::uint32_t const (&a)[4],
                                         std::uint32_t const (&b)[2]) {
  ND_MMA("m16n8k16", "f32.bf16.bf16.f32");
}

#undef ND_MMA

}  // namespace nd

#endif

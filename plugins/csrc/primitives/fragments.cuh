// Fragments of float16 matrices from shared memory, and their product on every architecture served.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "mma.cuh"

namespace nd {

// Reads four 8 x 8 matrices of 16-bit values, of which lanes 8i to 8i + 7 name the rows of matrix i
// (16 bytes each, aligned). Register i of lane 4g + t gets columns 2t and 2t + 1 of its row g.
__device__ __forceinline__ void load_matrices(std::uint32_t (&registers)[4], void const* row) {
#if defined(ND_EMULATED)
  void const* const* rows = nd_emulator::share(row, 0xffffffffu);
  unsigned const lane = nd_emulator::lane();
  for (unsigned i = 0; i < 4; ++i) {
    registers[i] = static_cast<std::uint32_t const*>(rows[8 * i + lane / 4])[lane % 4];
  }
#else
  auto const from = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(from));
#endif
}

// d += a b with mma_f16's fragments. Turing has half its depth only and takes two steps.
__device__ __forceinline__ void multiply_f16(float (&d)[4], std::uint32_t const (&a)[4],
                                             std::uint32_t const (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  for (int step = 0; step < 2; ++step) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32"
        " {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * step]), "r"(a[2 * step + 1]), "r"(b[step]));
  }
#else
  mma_f16(d, a, b);
#endif
}

}  // namespace nd

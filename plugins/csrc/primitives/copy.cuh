// Moving memory: vectors of a type, and asynchronous copies from global to shared memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#if defined(ND_EMULATED)
#include "emulated_copy.h"
#else

namespace nd {

// Copies Bytes (4, 8 or 16) to shared memory, both aligned to Bytes, or writes zeros where not
// `valid`. Done for the calling thread after copy_async_wait, for others after a barrier.
template <int Bytes>
__device__ __forceinline__ void copy_async(void* shared, void const* global, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  auto const to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  int const bytes = valid ? Bytes : 0;
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global),
                 "n"(Bytes), "r"(bytes)
                 : "memory");
  }
#else
  for (int word = 0; word < Bytes / 4; ++word) {
    static_cast<std::uint32_t*>(shared)[word] =
        valid ? static_cast<std::uint32_t const*>(global)[word] : 0u;
  }
#endif
}

// Closes the group of the copies that the thread has begun since the last one.
__device__ __forceinline__ void copy_async_commit() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `Pending` of the thread's groups, the newest ones, are still under way.
template <int Pending>
__device__ __forceinline__ void copy_async_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace nd

#endif

namespace nd {

// N values that are moved as one; N sizeof(T) is 4, 8 or 16 bytes, and so is the alignment.
template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

template <typename T, int N>
__device__ __forceinline__ Vector<T, N> load_vector(T const* from) {
  return *reinterpret_cast<Vector<T, N> const*>(from);
}

template <typename T, int N>
__device__ __forceinline__ void store_vector(T* to, Vector<T, N> const& values) {
  *reinterpret_cast<Vector<T, N>*>(to) = values;
}

// `Words` words (2 or 4) of memory that is read once: it is not to displace what is read again.
template <int Words>
__device__ __forceinline__ void load_once(void const* from, std::uint32_t (&words)[Words]) {
  static_assert(Words == 2 || Words == 4);
  if constexpr (Words == 4) {
    uint4 const loaded = __ldcs(static_cast<uint4 const*>(from));
    words[0] = loaded.x, words[1] = loaded.y, words[2] = loaded.z, words[3] = loaded.w;
  } else {
    uint2 const loaded = __ldcs(static_cast<uint2 const*>(from));
    words[0] = loaded.x, words[1] = loaded.y;
  }
}

}  // namespace nd

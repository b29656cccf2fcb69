// Starting a kernel, and the shared memory that it is started with.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <tuple>

#if defined(ND_EMULATED)
#include "emulated_launch.h"
#else

namespace nd {

// The block's dynamic shared memory, aligned to 16 bytes.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char nd_dynamic_shared[];
  return reinterpret_cast<T*>(nd_dynamic_shared);
}

namespace detail {

template <typename... P, std::size_t... I>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, std::tuple<P...> values, std::index_sequence<I...>) {
  void* pointers[] = {static_cast<void*>(&std::get<I>(values))...};
  return cudaLaunchKernel(reinterpret_cast<void const*>(kernel), grid, block, pointers,
                          shared_bytes, stream);
}

}  // namespace detail

// Queues kernel<<<grid, block, shared_bytes, stream>>>(arguments...) and returns its own error,
// not one that an earlier call left behind.
template <typename... P, typename... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, A const&... arguments) {
  constexpr std::size_t kWithoutAsking = 48 * 1024;
  if (shared_bytes > kWithoutAsking) {
    cudaError_t const error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (error != cudaSuccess) {
      return error;
    }
  }
  return detail::launch(kernel, grid, block, shared_bytes, stream,
                        std::tuple<P...>(static_cast<P>(arguments)...),
                        std::index_sequence_for<P...>{});
}

}  // namespace nd

#endif

namespace nd {

// Whether the code that this device runs of `kernel` was compiled for tensor cores (sm_80 and
// later): the library may hold nothing newer than sm_75 for it.
template <typename... P>
cudaError_t has_tensor_core_code(void (*kernel)(P...), bool* has) {
  cudaFuncAttributes attributes{};
  cudaError_t const error = cudaFuncGetAttributes(&attributes, kernel);
  *has = error == cudaSuccess && attributes.ptxVersion >= 80;
  return error;
}

// How many multiprocessors the current device has.
inline cudaError_t multiprocessors(int* count) {
  int device = 0;
  cudaError_t const error = cudaGetDevice(&device);
  return error != cudaSuccess
             ? error
             : cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
}

// The most bytes of shared memory that a block of the current device may ask for.
inline cudaError_t shared_memory_limit(int* bytes) {
  int device = 0;
  cudaError_t const error = cudaGetDevice(&device);
  return error != cudaSuccess
             ? error
             : cudaDeviceGetAttribute(bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

}  // namespace nd

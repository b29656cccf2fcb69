// nd::launch and dynamic shared memory, emulated: the launch returns when the kernel is done.
#pragma once

#include <tuple>

#include "cuda_runtime.h"

namespace nd {

template <typename T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(nd_emulator::Block::current().shared());
}

template <typename... P, typename... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t, A const&... arguments) {
  std::size_t const threads = std::size_t{block.x} * block.y * block.z;
  std::size_t const blocks = std::size_t{grid.x} * grid.y * grid.z;
  bool const too_large = threads > 1024 || grid.x > 0x7fffffffu || grid.y > 65535 ||
                         grid.z > 65535 || block.z > 64;
  int shared_limit = 0;
  cudaDeviceGetAttribute(&shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (threads == 0 || blocks == 0 || too_large) {
    return cudaErrorInvalidConfiguration;
  }
  if (shared_bytes > static_cast<std::size_t>(shared_limit)) {
    return cudaErrorInvalidValue;
  }
  std::tuple<P...> const values(static_cast<P>(arguments)...);
  nd_emulator::run_grid([&] { std::apply(kernel, values); }, grid, block, shared_bytes);
  return cudaSuccess;
}

}  // namespace nd

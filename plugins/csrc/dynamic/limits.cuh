// What the kernels can count with.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace nd {

// Indices are 32-bit and may run a few tiles beyond the last.
constexpr std::int64_t kMostElements = std::int64_t{1} << 30;
constexpr std::int64_t kMostGroups = 65535;  // the second axis of a grid
constexpr std::int64_t kMostRows = 8 * kMostGroups;

// Whether sizes are positive and their product is one that can be counted with.
template <typename... Sizes>
bool countable(Sizes... sizes) {
  std::int64_t product = 1;
  for (std::int64_t size : {static_cast<std::int64_t>(sizes)...}) {
    if (size < 1 || size > kMostElements / product) {
      return false;
    }
    product *= size;
  }
  return true;
}

}  // namespace nd

// Asynchronous copies, emulated so that a missing wait shows.
//
// A copy takes effect when it is begun or when it is waited for: at once in the forward order, as
// late as allowed in the reverse order, either at random in the random order.
#pragma once

#include <cstdint>

#include "cuda_runtime.h"

namespace nd_emulator {

inline void perform(PendingCopy const& copy) {
  auto* to = static_cast<unsigned char*>(copy.to);
  std::memcpy(to, copy.from, copy.bytes);
  std::memset(to + copy.bytes, 0, copy.zeros);
}

inline bool is_deferred() {
  return settings.order == Order::kReverse ||
         (settings.order == Order::kRandom && Block::current().random_bit());
}

}  // namespace nd_emulator

namespace nd {

template <int Bytes>
void copy_async(void* shared, void const* global, bool valid = true) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  bool const aligned = reinterpret_cast<std::uintptr_t>(shared) % Bytes == 0 &&
                       reinterpret_cast<std::uintptr_t>(global) % Bytes == 0;
  if (!aligned) {
    nd_emulator::fail("misaligned asynchronous copy");
  }
  nd_emulator::PendingCopy const copy{shared, global, valid ? std::size_t{Bytes} : 0,
                                      valid ? 0 : std::size_t{Bytes}};
  if (nd_emulator::is_deferred()) {
    nd_emulator::Block::current().thread().copies.back().push_back(copy);
  } else {
    nd_emulator::perform(copy);
  }
}

inline void copy_async_commit() {
  nd_emulator::Block::current().thread().copies.emplace_back();
}

template <int Pending>
void copy_async_wait() {
  auto& groups = nd_emulator::Block::current().thread().copies;
  while (groups.size() > Pending + 1) {
    for (nd_emulator::PendingCopy const& copy : groups.front()) {
      nd_emulator::perform(copy);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace nd

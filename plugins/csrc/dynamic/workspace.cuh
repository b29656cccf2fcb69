// Arrays in a buffer of the caller's, one behind the other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nd {

// Hands out memory. Without a buffer it only counts, which is how the size is found out.
class Workspace {
 public:
  static constexpr std::size_t kAlignment = 256;

  explicit Workspace(void* buffer) : base_(reinterpret_cast<std::uintptr_t>(buffer)) {}

  template <typename T>
  T* take(std::int64_t count) {
    std::size_t const bytes = static_cast<std::size_t>(count) * sizeof(T);
    std::uintptr_t const address = base_ + used_;
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    most_ = used_ > most_ ? used_ : most_;
    return reinterpret_cast<T*>(address);
  }

  // What was taken since `used` returned `mark` is done with when what is taken next is written.
  std::size_t used() const { return used_; }
  void rewind(std::size_t mark) { used_ = mark; }

  std::size_t bytes() const { return most_; }

  // Whether the buffer, of `bytes`, is one that all that was taken fits.
  bool fits(std::size_t bytes) const {
    return base_ != 0 && base_ % kAlignment == 0 && bytes >= most_;
  }

 private:
  std::uintptr_t base_;
  std::size_t used_ = 0;
  std::size_t most_ = 0;
};

}  // namespace nd

// Barriers, shuffles, atomics and arithmetic of CUDA's device code.
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "scheduler.h"

inline constexpr unsigned kNdAllLanes = 0xffffffffu;

inline void __syncthreads() {
  nd_emulator::Block::current().wait(nd_emulator::Thread::State::kAtBlockBarrier, 0);
}
inline void __syncwarp(unsigned mask = kNdAllLanes) {
  nd_emulator::Block::current().wait(nd_emulator::Thread::State::kAtWarpBarrier, mask);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace nd_emulator {

inline unsigned lane() { return Block::current().thread().linear % 32; }

// Shows `mine` to the lanes in `mask`, waits for them, and returns what each of the 32 showed.
template <typename T>
T const* share(T const& mine, unsigned mask) {
  static_assert(sizeof(T) <= Exchange::kBytes && std::is_trivially_copyable_v<T>);
  Block& block = Block::current();
  unsigned const parity = block.thread().exchanges++ & 1u;
  auto* slots = block.exchange().slots[parity];
  std::memcpy(slots[lane()], &mine, sizeof(T));
  block.wait(Thread::State::kAtWarpBarrier, mask);
  static T shown[32];  // read before the caller hands on
  for (unsigned other = 0; other < 32; ++other) {
    if (mask >> other & 1u) {
      std::memcpy(&shown[other], slots[other], sizeof(T));
    } else {
      std::memset(static_cast<void*>(&shown[other]), 0xff, sizeof(T));
    }
  }
  return shown;
}

template <typename T>
T shuffle(unsigned mask, T value, int source, int width) {
  int const first = static_cast<int>(lane()) / width * width;
  bool const inside = source >= first && source < first + width;
  T const* shown = share(value, mask);
  return inside ? shown[source] : value;
}

}  // namespace nd_emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  int const own = static_cast<int>(nd_emulator::lane());
  return nd_emulator::shuffle(mask, value, own / width * width + source % width, width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
  return nd_emulator::shuffle(mask, value, static_cast<int>(nd_emulator::lane()) ^ with, width);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  int const source = static_cast<int>(nd_emulator::lane() + by);
  return nd_emulator::shuffle(mask, value, source, width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  int const source = static_cast<int>(nd_emulator::lane()) - static_cast<int>(by);
  return nd_emulator::shuffle(mask, value, source, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  int const* shown = nd_emulator::share(predicate, mask);
  unsigned votes = 0;
  for (unsigned other = 0; other < 32; ++other) {
    votes |= (mask >> other & 1u && shown[other] != 0 ? 1u : 0u) << other;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

// A thread hands on only at barriers, so that plain arithmetic is atomic.
template <typename T>
T atomicAdd(T* to, std::common_type_t<T> value) {
  T const before = *to;
  *to = before + value;
  return before;
}
template <typename T>
T atomicMax(T* to, std::common_type_t<T> value) {
  T const before = *to;
  *to = before < value ? value : before;
  return before;
}
template <typename T>
T atomicCAS(T* to, std::common_type_t<T> expected, std::common_type_t<T> value) {
  T const before = *to;
  *to = before == expected ? value : before;
  return before;
}
template <typename T>
T atomicExch(T* to, std::common_type_t<T> value) {
  T const before = *to;
  *to = value;
  return before;
}

template <typename T>
T __ldg(T const* from) { return *from; }
template <typename T>
T __ldcs(T const* from) { return *from; }
template <typename T>
T __ldcg(T const* from) { return *from; }
template <typename T>
void __stcs(T* to, T value) { *to = value; }
template <typename T>
void __stcg(T* to, T value) { *to = value; }

namespace nd_emulator {
template <typename To, typename From>
To bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}
}  // namespace nd_emulator

inline unsigned __float_as_uint(float value) { return nd_emulator::bits_of<unsigned>(value); }
inline int __float_as_int(float value) { return nd_emulator::bits_of<int>(value); }
inline float __uint_as_float(unsigned bits) { return nd_emulator::bits_of<float>(bits); }
inline float __int_as_float(int bits) { return nd_emulator::bits_of<float>(bits); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float rsqrtf(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

template <typename T>
T min(T a, T b) { return b < a ? b : a; }
template <typename T>
T max(T a, T b) { return a < b ? b : a; }

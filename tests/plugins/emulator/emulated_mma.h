// mma.sync, emulated with the fragment layouts of the PTX ISA and the rounding of tensor cores.
//
// Products are exact. They are added in groups to the accumulator, each addend cut off (towards
// zero) at one bit below the last place of the group's largest, and the sum is cut off to float32:
// what was measured on tensor cores of the Ampere generation, which later ones do not fall behind.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda_runtime.h"
#include "small_float.h"

namespace nd_emulator {

inline float truncate_to_float(double value) {
  auto rounded = static_cast<float>(value);
  if (std::isfinite(rounded) && std::fabs(static_cast<double>(rounded)) > std::fabs(value)) {
    rounded = std::nextafterf(rounded, 0.0f);
  }
  return rounded;
}

// c + the sum of `count` products, as a tensor core adds one group.
inline float add_group(float c, double const* products, int count) {
  double largest = std::fabs(static_cast<double>(c));
  double plain = c;
  for (int i = 0; i < count; ++i) {
    largest = std::fmax(largest, std::fabs(products[i]));
    plain += products[i];
  }
  if (!std::isfinite(plain) || largest == 0.0) {
    return static_cast<float>(plain);
  }
  constexpr int kKeptBits = 24;  // after the leading one: float32's 23, and one more
  double const places = std::ldexp(1.0, kKeptBits - std::ilogb(largest));
  double sum = std::trunc(c * places);
  for (int i = 0; i < count; ++i) {
    sum += std::trunc(products[i] * places);
  }
  return truncate_to_float(sum / places);
}

// What a lane shows of its fragments: its elements as floats.
template <int A, int B>
struct Operands {
  float a[A], b[B];
};

// `Held` is how many neighbours along k a register holds: 2 of 16 bits, or 1 of TF32.
template <int Held, int Group>
void multiply(float (&d)[4], Operands<4 * Held, 2 * Held> const& mine) {
  constexpr int kHalf = 4 * Held;  // k from which on the later registers are used
  auto const* lanes = share(mine, 0xffffffffu);
  int const g = static_cast<int>(lane()) / 4;
  int const t = static_cast<int>(lane()) % 4;
  for (int i = 0; i < 4; ++i) {
    int const column = 2 * t + i % 2;
    for (int from = 0; from < 2 * kHalf; from += Group) {
      double products[Group];
      for (int k = from; k < from + Group; ++k) {
        int const held_by = k % kHalf / Held;
        int const upper = k / kHalf;
        float const a = lanes[4 * g + held_by].a[(2 * upper + i / 2) * Held + k % Held];
        float const b = lanes[4 * column + held_by].b[upper * Held + k % Held];
        products[k - from] = static_cast<double>(a) * static_cast<double>(b);
      }
      d[i] = add_group(d[i], products, Group);
    }
  }
}

template <float (*Decode)(std::uint16_t)>
void multiply_16_bits(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  Operands<8, 4> mine;
  for (int i = 0; i < 8; ++i) {
    mine.a[i] = Decode(static_cast<std::uint16_t>(a[i / 2] >> 16 * (i % 2)));
  }
  for (int i = 0; i < 4; ++i) {
    mine.b[i] = Decode(static_cast<std::uint16_t>(b[i / 2] >> 16 * (i % 2)));
  }
  multiply<2, 8>(d, mine);
}

}  // namespace nd_emulator

namespace nd {

inline void mma_tf32(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  constexpr std::uint32_t kRead = 0xffffe000u;
  nd_emulator::Operands<4, 2> mine;
  for (int i = 0; i < 4; ++i) {
    mine.a[i] = nd_emulator::bits_float(a[i] & kRead);
  }
  for (int i = 0; i < 2; ++i) {
    mine.b[i] = nd_emulator::bits_float(b[i] & kRead);
  }
  nd_emulator::multiply<1, 4>(d, mine);
}

inline void mma_f16(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  nd_emulator::multiply_16_bits<nd_emulator::half_to_float>(d, a, b);
}

inline void mma_bf16(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
  nd_emulator::multiply_16_bits<nd_emulator::bfloat16_to_float>(d, a, b);
}

}  // namespace nd

// The Newton-Schulz iteration that both its implementations compute.
//
// Y_k = Y_(k-1) T_k, T_(k+1) = (3 I - Z_k Y_k) / 2 and Z_(k+1) = T_(k+1) Z_k, from Y_0 = A / |A|
// and Z_0 = I: 3 n - 3 products in n steps, as Z_1 = T_1 needs none and Y_n is not needed.
//
// Kept is E = T - 5/4 I: the spectrum of T lies in [1, 3/2], that of E in [-1/4, 1/4]. A product
// with E is a small correction to 5/4 Y or 5/4 Z, and its roundings are as small. For tensor cores
// it is what makes them accurate: they cut off towards zero, always, which in products with T would
// add up to more than float32's own roundings.
#pragma once

namespace nd {

constexpr float kCentre = 1.25f;  // of T's spectrum

}  // namespace nd

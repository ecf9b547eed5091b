// The number types that weights are decoded to: float, Float16 and BFloat16, the latter two as 16-bit words. They are
// types of their own, so that a store can be chosen by the type of the target.
#pragma once

#include "base/half.h"
#include "base/isa.h"

namespace metallic::quant::inline METALLIC_ISA {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// To nearest, ties to even.
constexpr void store_number(float value, float* out) { *out = value; }
constexpr void store_number(float value, Float16* out) { out->bits = float_to_half(value); }
constexpr void store_number(float value, BFloat16* out) { out->bits = float_to_bfloat16(value); }

}  // namespace metallic::quant::inline METALLIC_ISA

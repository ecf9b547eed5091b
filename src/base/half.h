// float16 (IEEE 754 binary16) and bfloat16 as plain 16-bit words, and their conversions. Host and device share them.
#pragma once

#include <bit>
#include <cstdint>

#include "base/isa.h"

#if defined(__CUDACC__)
#define METALLIC_HOST_DEVICE __host__ __device__
#else
#define METALLIC_HOST_DEVICE
#endif

namespace metallic {
inline namespace METALLIC_ISA {

// Exact for every input: subnormals are kept, a NaN keeps its payload bits.
METALLIC_HOST_DEVICE constexpr float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, which float represents exactly
    const float magnitude = float(mantissa) * 5.9604644775390625e-08f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t bits = exponent == 31 ? 0x7f800000u | (mantissa << 13) : ((exponent + 112) << 23) | (mantissa << 13);
  return std::bit_cast<float>(bits | sign);
}

// Rounds to nearest, ties to even; too large becomes infinity.
METALLIC_HOST_DEVICE constexpr uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = uint16_t((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 lets the float unit do the rounding
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  return uint16_t(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

METALLIC_HOST_DEVICE constexpr float bfloat16_to_float(uint16_t value) {
  return std::bit_cast<float>(uint32_t(value) << 16);
}

// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
METALLIC_HOST_DEVICE constexpr uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t((bits >> 16) | 0x40u);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace METALLIC_ISA
}  // namespace metallic

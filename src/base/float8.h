// E4M3, the 8-bit float of OCP's OFP8 (revision 1.0), and its conversions: exponent bias 7, subnormals, no infinity,
// the largest 448, NaN all ones beside the sign. Host and device share them.
#pragma once

#include <bit>
#include <cstdint>

#include "base/half.h"

namespace metallic {
inline namespace METALLIC_ISA {

METALLIC_HOST_DEVICE constexpr float e4m3_to_float(uint8_t bits) {
  const uint32_t sign = uint32_t(bits & 0x80u) << 24;
  const uint32_t magnitude = bits & 0x7fu;
  if (magnitude == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (magnitude < 8)  // zero or subnormal: multiples of 2^-9
    return std::bit_cast<float>(std::bit_cast<uint32_t>(float(magnitude) * 0.001953125f) | sign);
  return std::bit_cast<float>(sign | ((magnitude << 20) + (120u << 23)));
}

// Rounds to nearest, ties to even; too large, and infinite, becomes 448; a NaN stays one.
METALLIC_HOST_DEVICE constexpr uint8_t float_to_e4m3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint8_t(sign | 0x7fu);
  if (magnitude >= 0x43e00000u) return uint8_t(sign | 0x7eu);
  if (magnitude < 0x3c800000u) {  // subnormal: adding 2^14 lets the float unit do the rounding
    const float shifted = std::bit_cast<float>(magnitude) + 16384.0f;
    return uint8_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x46800000u));
  }
  const uint32_t odd = (magnitude >> 20) & 1u;
  return uint8_t(sign | ((magnitude - 0x3c000000u + 0x7ffffu + odd) >> 20));
}

}  // namespace METALLIC_ISA
}  // namespace metallic

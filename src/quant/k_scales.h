// The 12 bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit minimums. Bytes 0 to 3: scales 0 to 3;
// bytes 4 to 7: minimums 0 to 3; bytes 8 to 11: the low four bits of scales (low half) and minimums (high half) 4 to 7,
// whose top two bits are the top bits of bytes 0 to 3 and 4 to 7.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

METALLIC_HOST_DEVICE constexpr int k_scale(const uint8_t* bytes, int group) {
  return group < 4 ? bytes[group] & 63 : low_nibble(bytes[group + 4]) | bytes[group - 4] >> 6 << 4;
}

METALLIC_HOST_DEVICE constexpr int k_minimum(const uint8_t* bytes, int group) {
  return group < 4 ? bytes[group + 4] & 63 : high_nibble(bytes[group + 4]) | bytes[group] >> 6 << 4;
}

// Stores both in bytes that were zero.
METALLIC_HOST_DEVICE constexpr void put_k_scale(uint8_t* bytes, int group, int scale, int minimum) {
  if (group < 4) {
    bytes[group] |= uint8_t(scale);
    bytes[group + 4] |= uint8_t(minimum);
  } else {
    bytes[group + 4] |= uint8_t((scale & 15) | (minimum & 15) << 4);
    bytes[group - 4] |= uint8_t(scale >> 4 << 6);
    bytes[group] |= uint8_t(minimum >> 4 << 6);
  }
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

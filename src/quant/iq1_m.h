// IQ1_M: w = scale * (2 s + 1) * (x +- 1/8), x as in IQ1_S; 16 groups of 16, the sign of the 1/8 for every 8 weights.
// Codes are 8 (x +- 1/8), odd numbers from -9 to 9, and the scale is an eighth: both exact, so the product is too.
// A nibble of high_bits is three more bits of a row number and that sign. A word of `scales` is four s of 3 bits and,
// on top, a quarter of the half-precision scale.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ1_M {
  static constexpr Format kFormat = Format::kIQ1_M;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -9, kCodeMax = 9;
  struct Block {
    uint8_t rows[32];
    uint8_t high_bits[16];
    Unaligned<uint16_t> scales[4];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 2; ++i) {
      const int high = nibble(block.high_bits, 2 * group + i);
      iq1_row(kGridIQ1[block.rows[2 * group + i] | (high & 7) << 8], (high & 8) != 0, codes + 8 * i);
    }
    uint32_t half = 0;
    for (int i = 0; i < 4; ++i) half |= uint32_t(block.scales[i] >> 12) << (4 * i);
    const int s = block.scales[group / 4] >> (group % 4 * 3) & 7;
    scale = half_to_float(uint16_t(half)) * float(2 * s + 1) * 0.125f;
    offset = 0;
  }
};
static_assert(sizeof(IQ1_M::Block) == 56);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

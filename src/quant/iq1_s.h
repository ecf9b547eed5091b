// IQ1_S: w = scale * (2 s + 1) * (x +- 1/8), x of -1, 0, 1 from a codebook of 2048 rows of 8; 8 groups of 32.
// Codes are 8 (x +- 1/8), odd numbers from -9 to 9, and the scale is an eighth: both exact, so the product is too.
// A group's word is three more bits for each of its four row numbers, s of 3 bits, and the sign of the 1/8.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ1_S {
  static constexpr Format kFormat = Format::kIQ1_S;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -9, kCodeMax = 9;
  struct Block {
    Half scale;
    uint8_t rows[32];
    Unaligned<uint16_t> groups[8];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint16_t word = block.groups[group];
    for (int i = 0; i < 4; ++i) {
      const int row = block.rows[4 * group + i] | (word >> (3 * i) & 7) << 8;
      iq1_row(kGridIQ1[row], (word & 0x8000) != 0, codes + 8 * i);
    }
    scale = float(block.scale) * float(2 * (word >> 12 & 7) + 1) * 0.125f;
    offset = 0;
  }
};
static_assert(sizeof(IQ1_S::Block) == 50);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

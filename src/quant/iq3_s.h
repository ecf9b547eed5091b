// IQ3_S: w = scale * (2 s + 1) * (+-x), x from a codebook of 512 rows of 4; 8 groups of 32 with s of 4 bits.
// Row numbers have 9 bits, the top one in high_bits; every weight has a sign bit.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ3_S {
  static constexpr Format kFormat = Format::kIQ3_S;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -15, kCodeMax = 15;
  struct Block {
    Half scale;
    uint8_t rows[64];
    uint8_t high_bits[8];
    uint8_t signs[32];
    uint8_t scales[4];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 8; ++i) {
      const int row = block.rows[8 * group + i] | (block.high_bits[group] >> i & 1) << 8;
      const int signs = block.signs[4 * group + i / 2] >> (i % 2 * 4);
      iq3_s_row(kGridIQ3_S[row], signs, codes + 4 * i);
    }
    scale = float(block.scale) * float(1 + 2 * nibble(block.scales, group));
    offset = 0;
  }
};
static_assert(sizeof(IQ3_S::Block) == 110);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

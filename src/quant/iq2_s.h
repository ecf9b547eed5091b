// IQ2_S: w = scale * (s + 1/2) / 4 * (+-x), x from a codebook of 1024 rows of 8; 16 groups of 16 with s of 4 bits.
// Row numbers have 10 bits, the top two in high_bits; every weight has a sign bit.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ2_S {
  static constexpr Format kFormat = Format::kIQ2_S;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -43, kCodeMax = 43;
  struct Block {
    Half scale;
    uint8_t rows[32];
    uint8_t signs[32];
    uint8_t high_bits[8];
    uint8_t scales[8];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * group + i;
      const int row = block.rows[k] | (block.high_bits[k / 4] >> (k % 4 * 2) & 3) << 8;
      iq2_row(kGridIQ2_S[row], block.signs[k], codes + 8 * i);
    }
    scale = float(block.scale) * (0.5f + float(nibble(block.scales, group))) * 0.25f;
    offset = 0;
  }
};
static_assert(sizeof(IQ2_S::Block) == 82);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

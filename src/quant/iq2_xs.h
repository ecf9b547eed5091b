// IQ2_XS: w = scale * (s + 1/2) / 4 * (+-x), x from a codebook of 512 rows of 8; 16 groups of 16 with s of 4 bits.
// A word is a row number of 9 bits and a 7-bit sign set (codebook.h).
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ2_XS {
  static constexpr Format kFormat = Format::kIQ2_XS;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -43, kCodeMax = 43;
  struct Block {
    Half scale;
    Unaligned<uint16_t> rows_and_signs[32];
    uint8_t scales[8];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 2; ++i) {
      const uint16_t word = block.rows_and_signs[2 * group + i];
      iq2_row(kGridIQ2_XS[word & 511], even_signs(word >> 9), codes + 8 * i);
    }
    scale = float(block.scale) * (0.5f + float(nibble(block.scales, group))) * 0.25f;
    offset = 0;
  }
};
static_assert(sizeof(IQ2_XS::Block) == 74);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

// IQ2_XXS: w = scale * (s + 1/2) / 4 * (+-x), x from a codebook of 256 rows of 8; 8 groups of 32 with s of 4 bits.
// A group is four row numbers, then a word of four 7-bit sign sets (codebook.h) and, on top, s.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ2_XXS {
  static constexpr Format kFormat = Format::kIQ2_XXS;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -43, kCodeMax = 43;
  struct Block {
    struct Group {
      uint8_t rows[4];
      Unaligned<uint32_t> signs_and_scale;
    };
    Half scale;
    Group groups[8];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const Block::Group& stored = block.groups[group];
    const uint32_t word = stored.signs_and_scale;
    for (int i = 0; i < 4; ++i) iq2_row(kGridIQ2_XXS[stored.rows[i]], even_signs(word >> (7 * i) & 127), codes + 8 * i);
    scale = float(block.scale) * (0.5f + float(word >> 28)) * 0.25f;
    offset = 0;
  }
};
static_assert(sizeof(IQ2_XXS::Block) == 66);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

// IQ3_XXS: w = scale * (s + 1/2) / 2 * (+-x), x from a codebook of 256 rows of 4; 8 groups of 32 with s of 4 bits.
// A group has eight row numbers and a word of four 7-bit sign sets (codebook.h) and, on top, s.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ3_XXS {
  static constexpr Format kFormat = Format::kIQ3_XXS;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -62, kCodeMax = 62;
  struct Block {
    Half scale;
    uint8_t rows[64];
    Unaligned<uint32_t> signs_and_scale[8];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint32_t word = block.signs_and_scale[group];
    for (int i = 0; i < 8; ++i) {
      const int signs = even_signs(word >> (i / 2 * 7) & 127) >> (i % 2 * 4);
      iq3_xxs_row(kGridIQ3_XXS[block.rows[8 * group + i]], signs, codes + 4 * i);
    }
    scale = float(block.scale) * (0.5f + float(word >> 28)) * 0.5f;
    offset = 0;
  }
};
static_assert(sizeof(IQ3_XXS::Block) == 98);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

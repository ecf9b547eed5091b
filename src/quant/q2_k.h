// Q2_K: w = scale * s * q - minimum * m, q of 2 bits; 16 groups of 16 with s and m of 4 bits each.
// A byte of `codes` holds four weights, 32 apart: 32 bytes make 128 weights.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q2_K {
  static constexpr Format kFormat = Format::kQ2_K;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = true;
  static constexpr int kCodeMin = 0, kCodeMax = 3;
  struct Block {
    uint8_t scales[16];  // s in the low half, m in the high one
    uint8_t codes[64];
    Half scale;
    Half minimum;
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 32 * (group / 8) + 16 * (group % 2);
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) codes[i] = int8_t(bytes[i] >> shift & 3);
    scale = float(block.scale) * float(low_nibble(block.scales[group]));
    offset = -(float(block.minimum) * float(high_nibble(block.scales[group])));
  }
};
static_assert(sizeof(Q2_K::Block) == 84);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

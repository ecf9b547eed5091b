// Q6_K: w = scale * s * (q - 32), q of 6 bits; 16 groups of 16 with s of 8 bits, signed.
// In each half of 128 weights, a byte of low_bits holds two weights, 64 apart; a byte of high_bits four, 32 apart.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q6_K {
  static constexpr Format kFormat = Format::kQ6_K;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -32, kCodeMax = 31;
  struct Block {
    uint8_t low_bits[128];
    uint8_t high_bits[64];
    int8_t scales[16];
    Half scale;
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const int half = group / 8, first = group % 2 * 16;
    const uint8_t* low = block.low_bits + 64 * half + group % 4 / 2 * 32 + first;
    const uint8_t* high = block.high_bits + 32 * half + first;
    const int low_shift = group % 8 / 4 * 4, high_shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i)
      codes[i] = int8_t(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
    scale = float(block.scale) * float(block.scales[group]);
    offset = 0;
  }
};
static_assert(sizeof(Q6_K::Block) == 210);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

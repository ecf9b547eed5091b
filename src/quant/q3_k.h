// Q3_K: w = scale * (s - 32) * (q - 4), q of 3 bits; 16 groups of 16 with s of 6 bits.
// A byte of `codes` holds four weights, 32 apart: 32 bytes make 128 weights.
// Bit k of high_bits[i] is the third bit of weight 32 k + i.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q3_K {
  static constexpr Format kFormat = Format::kQ3_K;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -4, kCodeMax = 3;
  struct Block {
    uint8_t high_bits[32];
    uint8_t codes[64];
    uint8_t scales[12];  // 8 bytes of low nibbles, then 4 bytes of two high bits
    Half scale;
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 32 * (group / 8) + 16 * (group % 2);
    const uint8_t* high = block.high_bits + 16 * (group % 2);
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) codes[i] = int8_t((bytes[i] >> shift & 3) | (high[i] >> (group / 2) & 1) << 2) - 4;
    const int low = block.scales[group % 8] >> (group / 8 * 4) & 15;
    const int top = block.scales[8 + group % 4] >> (group / 4 * 2) & 3;
    scale = float(block.scale) * float((low | top << 4) - 32);
    offset = 0;
  }
};
static_assert(sizeof(Q3_K::Block) == 110);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

// Q5_0: w = scale * (q - 16), q of 5 bits: four in `codes` as in Q4_0, the fifth of weight i in bit i of high_bits.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q5_0 {
  static constexpr Format kFormat = Format::kQ5_0;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -16, kCodeMax = 15;
  struct Block {
    Half scale;
    Unaligned<uint32_t> high_bits;
    uint8_t codes[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    const uint32_t high = block.high_bits;
    for (int i = 0; i < 16; ++i) {
      codes[i] = int8_t((low_nibble(block.codes[i]) | int((high >> (i)&1) << 4)) - 16);
      codes[i + 16] = int8_t((high_nibble(block.codes[i]) | int((high >> (i + 16) & 1) << 4)) - 16);
    }
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(Q5_0::Block) == 22);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

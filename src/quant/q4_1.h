// Q4_1: w = scale * q + minimum, q of 4 bits. A byte holds weight i (low) and weight i + 16 (high).
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q4_1 {
  static constexpr Format kFormat = Format::kQ4_1;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = true;
  static constexpr int kCodeMin = 0, kCodeMax = 15;
  struct Block {
    Half scale;
    Half minimum;
    uint8_t codes[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 16; ++i) {
      codes[i] = int8_t(low_nibble(block.codes[i]));
      codes[i + 16] = int8_t(high_nibble(block.codes[i]));
    }
    scale = block.scale;
    offset = block.minimum;
  }
};
static_assert(sizeof(Q4_1::Block) == 20);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

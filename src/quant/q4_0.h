// Q4_0: w = scale * (q - 8), q of 4 bits. A byte holds weight i (low) and weight i + 16 (high).
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q4_0 {
  static constexpr Format kFormat = Format::kQ4_0;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -8, kCodeMax = 7;
  struct Block {
    Half scale;
    uint8_t codes[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 16; ++i) {
      codes[i] = int8_t(low_nibble(block.codes[i]) - 8);
      codes[i + 16] = int8_t(high_nibble(block.codes[i]) - 8);
    }
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(Q4_0::Block) == 18);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

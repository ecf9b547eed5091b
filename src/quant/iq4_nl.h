// IQ4_NL: w = scale * v[q], q of 4 bits, v a fixed table of 16 unevenly spaced values.
// A byte holds weight i (low) and weight i + 16 (high).
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ4_NL {
  static constexpr Format kFormat = Format::kIQ4_NL;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -127, kCodeMax = 113;
  struct Block {
    Half scale;
    uint8_t codes[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 16; ++i) {
      codes[i] = int8_t(kIQ4Values[low_nibble(block.codes[i])]);
      codes[i + 16] = int8_t(kIQ4Values[high_nibble(block.codes[i])]);
    }
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(IQ4_NL::Block) == 18);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

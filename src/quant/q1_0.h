// Q1_0: w = scale for a 1 bit, -scale for a 0 bit; 128 weights share the scale. The Python package knows the size but
// cannot decode it; this is ggml's definition.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q1_0 {
  static constexpr Format kFormat = Format::kQ1_0;
  static constexpr int kBlock = 128, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -1, kCodeMax = 1;
  struct Block {
    Half scale;
    uint8_t bits[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 32; ++i) codes[i] = int8_t(2 * (block.bits[4 * group + i / 8] >> (i % 8) & 1) - 1);
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(Q1_0::Block) == 18);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

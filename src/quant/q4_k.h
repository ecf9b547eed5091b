// Q4_K: w = scale * s * q - minimum * m, q of 4 bits; 8 groups of 32 with s and m of 6 bits each (k_scales.h).
// 32 bytes of `codes` hold two groups: the first in the low halves, the second in the high ones.
#pragma once

#include "quant/block.h"
#include "quant/k_scales.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q4_K {
  static constexpr Format kFormat = Format::kQ4_K;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = true;
  static constexpr int kCodeMin = 0, kCodeMax = 15;
  struct Block {
    Half scale;
    Half minimum;
    uint8_t scales[12];
    uint8_t codes[128];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 32 * (group / 2);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) codes[i] = int8_t(bytes[i] >> shift & 15);
    scale = float(block.scale) * float(k_scale(block.scales, group));
    offset = -(float(block.minimum) * float(k_minimum(block.scales, group)));
  }
};
static_assert(sizeof(Q4_K::Block) == 144);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

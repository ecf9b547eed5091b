// Q5_K: w = scale * s * q - minimum * m, q of 5 bits; 8 groups of 32 with s and m of 6 bits each (k_scales.h).
// Four bits are stored as in Q4_K; bit g of high_bits[i] is the fifth of weight i of group g.
#pragma once

#include "quant/block.h"
#include "quant/k_scales.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q5_K {
  static constexpr Format kFormat = Format::kQ5_K;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = true;
  static constexpr int kCodeMin = 0, kCodeMax = 31;
  struct Block {
    Half scale;
    Half minimum;
    uint8_t scales[12];
    uint8_t high_bits[32];
    uint8_t codes[128];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 32 * (group / 2);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) codes[i] = int8_t((bytes[i] >> shift & 15) | (block.high_bits[i] >> group & 1) << 4);
    scale = float(block.scale) * float(k_scale(block.scales, group));
    offset = -(float(block.minimum) * float(k_minimum(block.scales, group)));
  }
};
static_assert(sizeof(Q5_K::Block) == 176);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

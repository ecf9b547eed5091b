// Q8_K: w = scale * q, q of 8 bits, a float scale for 256 weights and the sums of 16 codes each. Made for activations.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q8_K {
  static constexpr Format kFormat = Format::kQ8_K;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -128, kCodeMax = 127;
  struct Block {
    Unaligned<float> scale;
    int8_t codes[256];
    Unaligned<int16_t> sums[16];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    for (int i = 0; i < 32; ++i) codes[i] = block.codes[32 * group + i];
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(Q8_K::Block) == 292);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

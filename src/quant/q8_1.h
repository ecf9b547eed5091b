// Q8_1: w = scale * q, q of 8 bits, with the sum of the weights beside it. Made for activations; files hardly hold it.
// The sum is a half, as in ggml; the Python package's older table counts 40 bytes a block and cannot decode it.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q8_1 {
  static constexpr Format kFormat = Format::kQ8_1;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -128, kCodeMax = 127;
  struct Block {
    Half scale;
    Half sum;  // scale * (sum of the codes)
    int8_t codes[32];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 32; ++i) codes[i] = block.codes[i];
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(Q8_1::Block) == 36);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

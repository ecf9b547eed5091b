// Q8_0: w = scale * q, q of 8 bits.
#pragma once

#include <cmath>

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct Q8_0 {
  static constexpr Format kFormat = Format::kQ8_0;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -128, kCodeMax = 127;
  struct Block {
    Half scale;
    int8_t codes[32];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 32; ++i) codes[i] = block.codes[i];
    scale = block.scale;
    offset = 0;
  }

  // Codes are rounded to nearest, ties away from zero, with the scale before it is rounded to half. A weight that is no
  // finite number makes the whole block NaN or infinite, so that the damage stays visible.
  METALLIC_HOST_DEVICE static void encode(const float* weights, Block& block) {
    float largest = 0;
    for (int i = 0; i < kBlock; ++i) {
      const float magnitude = std::fabs(weights[i]);
      if (!(magnitude <= largest)) largest = largest != largest ? largest : magnitude;
    }
    const float scale = largest / 127;
    const float inverse = 1 / scale;
    const bool usable = scale > 0 && scale <= 3.4028235e38f && inverse <= 3.4028235e38f;
    block.scale = Half::of(scale);
    for (int i = 0; i < kBlock; ++i) block.codes[i] = usable ? int8_t(std::round(weights[i] * inverse)) : int8_t(0);
  }
};
static_assert(sizeof(Q8_0::Block) == 34);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

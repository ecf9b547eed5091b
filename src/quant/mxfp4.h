// MXFP4 (OCP Microscaling Formats 1.0): w = 2^(e - 127) * x, x a 4-bit float E2M1, for 32 weights. Codes are 2 x.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct MXFP4 {
  static constexpr Format kFormat = Format::kMXFP4;
  static constexpr int kBlock = 32, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -12, kCodeMax = 12;
  struct Block {
    uint8_t exponent;
    uint8_t codes[16];
  };

  // 2^(e - 128), the half of the scale; a subnormal float for e < 2. Like ggml it takes 255 for a number, not for NaN.
  METALLIC_HOST_DEVICE static constexpr float half_scale(uint32_t e) {
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  }

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    (void)group;  // one group
    for (int i = 0; i < 16; ++i) {
      codes[i] = int8_t(kE2M1Doubled[low_nibble(block.codes[i])]);
      codes[i + 16] = int8_t(kE2M1Doubled[high_nibble(block.codes[i])]);
    }
    scale = half_scale(block.exponent);
    offset = 0;
  }
};
static_assert(sizeof(MXFP4::Block) == 17);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

// NVFP4: w = scale * x, x a 4-bit float E2M1; groups of 16 with a scale each, an unsigned 8-bit float E4M3. Codes are
// 2 x. A group's 8 bytes hold weight i (low) and weight i + 8 (high). The tensor-wide scale is another tensor's
// business.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct NVFP4 {
  static constexpr Format kFormat = Format::kNVFP4;
  static constexpr int kBlock = 64, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -12, kCodeMax = 12;
  struct Block {
    uint8_t scales[4];
    uint8_t codes[32];
  };

  // Half the value of an unsigned E4M3 (bias 7): bit 7 is ignored; 0x7f, the NaN, counts as 0.
  METALLIC_HOST_DEVICE static constexpr float half_e4m3(uint8_t bits) {
    const int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if (bits == 0x7f) return 0;
    if (exponent == 0) return float(mantissa) * 0x1p-10f;
    return float(8 + mantissa) * std::bit_cast<float>(uint32_t(exponent - 11 + 127) << 23);
  }

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 8 * group;
    for (int i = 0; i < 8; ++i) {
      codes[i] = kE2M1Doubled[low_nibble(bytes[i])];
      codes[i + 8] = kE2M1Doubled[high_nibble(bytes[i])];
    }
    scale = half_e4m3(block.scales[group]);
    offset = 0;
  }
};
static_assert(sizeof(NVFP4::Block) == 36);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

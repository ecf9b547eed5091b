// TQ1_0: w = scale * t, t one of -1, 0, 1; five of them in a byte, as a fraction of 256 in base 3.
// Digit n of byte b is the top digit of b * 3^n mod 256. 32 bytes give weights 0 to 159, 16 bytes weights 160 to 239,
// 4 bytes (four digits each) the last 16; digit n of all bytes of a part comes before digit n + 1.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct TQ1_0 {
  static constexpr Format kFormat = Format::kTQ1_0;
  static constexpr int kBlock = 256, kGroup = 16;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -1, kCodeMax = 1;
  struct Block {
    uint8_t digits[48];
    uint8_t last_digits[4];
    Half scale;
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    constexpr uint8_t kPower[5] = {1, 3, 9, 27, 81};
    for (int i = 0; i < 16; ++i) {
      uint8_t shifted = 0;
      if (group < 10)
        shifted = uint8_t(block.digits[group % 2 * 16 + i] * kPower[group / 2]);
      else if (group < 15)
        shifted = uint8_t(block.digits[32 + i] * kPower[group - 10]);
      else
        shifted = uint8_t(block.last_digits[i % 4] * kPower[i / 4]);
      codes[i] = int8_t((shifted * 3 >> 8) - 1);
    }
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(TQ1_0::Block) == 54);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

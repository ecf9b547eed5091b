// TQ2_0: w = scale * (q - 1), q of 2 bits (3 does not occur in good files, but decodes to 2).
// A byte of `codes` holds four weights, 32 apart: 32 bytes make 128 weights.
#pragma once

#include "quant/block.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct TQ2_0 {
  static constexpr Format kFormat = Format::kTQ2_0;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -1, kCodeMax = 2;
  struct Block {
    uint8_t codes[64];
    Half scale;
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 32 * (group / 4);
    const int shift = group % 4 * 2;
    for (int i = 0; i < 32; ++i) codes[i] = int8_t((bytes[i] >> shift & 3) - 1);
    scale = block.scale;
    offset = 0;
  }
};
static_assert(sizeof(TQ2_0::Block) == 66);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

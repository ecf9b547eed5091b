// IQ4_XS: w = scale * (s - 32) * v[q], q of 4 bits, v the table of IQ4_NL; 8 groups of 32 with s of 6 bits.
#pragma once

#include "quant/block.h"
#include "quant/codebook.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

struct IQ4_XS {
  static constexpr Format kFormat = Format::kIQ4_XS;
  static constexpr int kBlock = 256, kGroup = 32;
  static constexpr bool kHasOffset = false;
  static constexpr int kCodeMin = -127, kCodeMax = 113;
  struct Block {
    Half scale;
    Unaligned<uint16_t> scales_high;  // two bits a group
    uint8_t scales_low[4];            // four bits a group
    uint8_t codes[128];
  };

  METALLIC_HOST_DEVICE static constexpr void decode(const Block& block, int group, int8_t* codes, float& scale,
                                                    float& offset) {
    const uint8_t* bytes = block.codes + 16 * group;
    for (int i = 0; i < 16; ++i) {
      codes[i] = kIQ4Values[low_nibble(bytes[i])];
      codes[i + 16] = kIQ4Values[high_nibble(bytes[i])];
    }
    const int high = block.scales_high >> (2 * group) & 3;
    scale = float(block.scale) * float((nibble(block.scales_low, group) | high << 4) - 32);
    offset = 0;
  }
};
static_assert(sizeof(IQ4_XS::Block) == 136);

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

// The codebooks of the formats whose codes are numbers of table entries, and how their rows are unpacked. The grids lie
// in codebook_tables.h in a few bits an entry: 9 KB for all of them, small enough for any first-level cache.
#pragma once

#include "quant/block.h"
#include "quant/codebook_tables.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

// Twice the values of the 4-bit float E2M1 (sign, two exponent bits, one mantissa bit), so that all are integers.
METALLIC_TABLE int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The values of IQ4_NL and IQ4_XS.
METALLIC_TABLE int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// Seven stored signs stand for eight: their number of minus signs is always even. Bit i of the result: weight i is < 0.
METALLIC_HOST_DEVICE constexpr int even_signs(uint32_t seven) {
  uint32_t parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return int(seven | (parity & 1) << 7);
}

METALLIC_HOST_DEVICE constexpr int8_t with_sign(int value, int minus) { return int8_t((value ^ -minus) + minus); }

// A row of eight 2-bit entries that stand for 8, 25 and 43.
METALLIC_HOST_DEVICE constexpr void iq2_row(uint16_t row, int signs, int8_t* codes) {
  for (int i = 0; i < 8; ++i) {
    const int entry = row >> (2 * i) & 3;
    codes[i] = with_sign(8 + 17 * entry + (entry >> 1), signs >> i & 1);
  }
}

// A row of four 3-bit entries that stand for 4, 12, 20, 28, 36, 44, 52 and 62.
METALLIC_HOST_DEVICE constexpr void iq3_xxs_row(uint16_t row, int signs, int8_t* codes) {
  for (int i = 0; i < 4; ++i) {
    const int entry = row >> (3 * i) & 7;
    codes[i] = with_sign(4 + 8 * entry + (entry == 7 ? 2 : 0), signs >> i & 1);
  }
}

// A row of four 3-bit entries that stand for 1, 3, 5, ... 15.
METALLIC_HOST_DEVICE constexpr void iq3_s_row(uint16_t row, int signs, int8_t* codes) {
  for (int i = 0; i < 4; ++i) codes[i] = with_sign(1 + 2 * (row >> (3 * i) & 7), signs >> i & 1);
}

// A row of eight 2-bit entries that stand for -1, 0 and 1, all shifted by 1/8 up or down: eight times that.
METALLIC_HOST_DEVICE constexpr void iq1_row(uint16_t row, bool down, int8_t* codes) {
  for (int i = 0; i < 8; ++i) codes[i] = int8_t(8 * ((row >> (2 * i) & 3) - 1) + (down ? -1 : 1));
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

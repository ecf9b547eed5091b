// Blocks of the codebook formats as numbers, over the primitives S of one instruction set: see simd_blocks.h. Rows of
// codes are loaded whole from codebook_rows.h; minus signs come as a bit for each weight.
#pragma once

#include "quant/codebook_rows.h"
#include "quant/simd_blocks.h"

namespace metallic::quant::inline METALLIC_ISA {

// even_signs of the low seven bits of each byte; the top bits are 0.
inline uint32_t even_signs_of_bytes(uint32_t sevens) {
  uint32_t parity = sevens ^ (sevens >> 4 & 0x0f0f0f0f);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return sevens | (parity & 0x01010101) << 7;
}

// Four sets of seven signs, one after the other, as four bytes of eight.
inline uint32_t four_even_signs(uint32_t word) {
  return even_signs_of_bytes((word & 0x7f) | (word << 1 & 0x7f00) | (word << 2 & 0x7f0000) | (word << 3 & 0x7f000000));
}

template <class S, class T>
void expand(const IQ1_S::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 8; ++group, out += 32) {
    const uint32_t word = block.groups[group];
    const uint8_t* rows = block.rows + 4 * group;
    const auto row = [&](int i) { return kRowsIQ1[rows[i] | (word >> (3 * i) & 7) << 8]; };
    const auto shift = S::fill((word & 0x8000) != 0 ? 0xff : 1);
    const float group_scale = scale * float(int(2 * (word >> 12 & 7) + 1)) * 0.125f;
    S::store_scaled(S::add(S::rows(row(0), row(1)), shift), group_scale, out);
    S::store_scaled(S::add(S::rows(row(2), row(3)), shift), group_scale, out + 16);
  }
}

template <class S, class T>
void expand(const IQ1_M::Block& block, T* out) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  const uint64_t words = load_word<uint64_t>(block.scales);
  const uint64_t tops = words & 0xf000f000f000f000;
  const float scale = S::half(uint16_t(tops >> 12 | tops >> 24 | tops >> 36 | tops >> 48));
  for (int group = 0; group < 16; ++group, out += 16) {
    const uint32_t high = block.high_bits[group];
    const uint8_t* rows = block.rows + 2 * group;
    const int s = int(words >> (group / 4 * 16 + group % 4 * 3) & 7);
    const auto codes = S::rows(kRowsIQ1[rows[0] | (high & 7) << 8], kRowsIQ1[rows[1] | (high >> 4 & 7) << 8]);
    const auto shifts = S::rows((high & 0x08) != 0 ? ~uint64_t(0) : kOnes, (high & 0x80) != 0 ? ~uint64_t(0) : kOnes);
    S::store_scaled(S::add(codes, shifts), scale * float(2 * s + 1) * 0.125f, out);
  }
}

template <class S, class T>
void expand(const IQ2_XXS::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 8; ++group, out += 32) {
    const uint8_t* rows = block.groups[group].rows;
    const uint32_t word = block.groups[group].signs_and_scale, signs = four_even_signs(word);
    const float group_scale = scale * (0.5f + float(int(word >> 28))) * 0.25f;
    const auto first = S::rows(kRowsIQ2_XXS[rows[0]], kRowsIQ2_XXS[rows[1]]);
    const auto second = S::rows(kRowsIQ2_XXS[rows[2]], kRowsIQ2_XXS[rows[3]]);
    S::store_scaled(S::negate(first, uint16_t(signs)), group_scale, out);
    S::store_scaled(S::negate(second, uint16_t(signs >> 16)), group_scale, out + 16);
  }
}

template <class S, class T>
void expand(const IQ2_XS::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 16; ++group, out += 16) {
    const uint32_t words = load_word<uint32_t>(block.rows_and_signs + 2 * group);
    const uint32_t signs = even_signs_of_bytes((words >> 9 & 0x7f) | (words >> 17 & 0x7f00));
    const float group_scale = scale * (0.5f + float(nibble(block.scales, group))) * 0.25f;
    const auto codes = S::rows(kRowsIQ2_XS[words & 511], kRowsIQ2_XS[words >> 16 & 511]);
    S::store_scaled(S::negate(codes, uint16_t(signs)), group_scale, out);
  }
}

template <class S, class T>
void expand(const IQ2_S::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 16; ++group, out += 16) {
    const uint8_t* rows = block.rows + 2 * group;
    const uint32_t high = uint32_t(nibble(block.high_bits, group));
    const float group_scale = scale * (0.5f + float(nibble(block.scales, group))) * 0.25f;
    const auto codes = S::rows(kRowsIQ2_S[rows[0] | (high & 3) << 8], kRowsIQ2_S[rows[1] | (high >> 2) << 8]);
    S::store_scaled(S::negate(codes, load_word<uint16_t>(block.signs + 2 * group)), group_scale, out);
  }
}

template <class S, class T>
void expand(const IQ3_XXS::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 8; ++group, out += 32) {
    const uint8_t* rows = block.rows + 8 * group;
    const auto row = [&](int i) { return kRowsIQ3_XXS[rows[i]]; };
    const uint32_t word = block.signs_and_scale[group], signs = four_even_signs(word);
    const float group_scale = scale * (0.5f + float(int(word >> 28))) * 0.5f;
    S::store_scaled(S::negate(S::words(row(0), row(1), row(2), row(3)), uint16_t(signs)), group_scale, out);
    S::store_scaled(S::negate(S::words(row(4), row(5), row(6), row(7)), uint16_t(signs >> 16)), group_scale, out + 16);
  }
}

template <class S, class T>
void expand(const IQ3_S::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int group = 0; group < 8; ++group, out += 32) {
    const uint8_t* rows = block.rows + 8 * group;
    const uint32_t high = block.high_bits[group], signs = load_word<uint32_t>(block.signs + 4 * group);
    const auto row = [&](int i) { return kRowsIQ3_S[rows[i] | (high >> i & 1) << 8]; };
    const float group_scale = scale * float(1 + 2 * nibble(block.scales, group));
    S::store_scaled(S::negate(S::words(row(0), row(1), row(2), row(3)), uint16_t(signs)), group_scale, out);
    S::store_scaled(S::negate(S::words(row(4), row(5), row(6), row(7)), uint16_t(signs >> 16)), group_scale, out + 16);
  }
}

}  // namespace metallic::quant::inline METALLIC_ISA

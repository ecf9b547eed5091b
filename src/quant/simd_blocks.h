// Blocks of the simple formats as numbers, over the primitives S of one instruction set (avx2/dequantize.cc and its
// siblings define them; B is a vector of 16 bytes). expand<S>(block, out) writes all weights of a block, bit for bit
// what decode() defines: the product of scale and code, then the sum with the offset, each rounded.
#pragma once

#include "quant/codebook.h"
#include "quant/float_words.h"
#include "quant/formats.h"

namespace metallic::quant::inline METALLIC_ISA {

template <class Word>
Word load_word(const void* bytes) {
  Word word;
  __builtin_memcpy(&word, bytes, sizeof(word));
  return word;
}

// The halves of 16 bytes.
template <class S>
typename S::B low_nibbles(typename S::B bytes) {
  return S::bits_and(bytes, S::fill(0x0f));
}
template <class S>
typename S::B high_nibbles(typename S::B bytes) {
  return S::bits_and(S::template shift<4>(bytes), S::fill(0x0f));
}

// 16 in each byte whose bit is set: the fifth bit of 16 codes.
template <class S>
typename S::B fifth_bits(uint16_t bits) {
  return S::bits_and(S::expand(bits), S::fill(16));
}

template <class S, class T>
void expand(const Q1_0::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int i = 0; i < 8; ++i)
    S::store_scaled(S::negate(S::fill(1), uint16_t(~load_word<uint16_t>(block.bits + 2 * i))), scale, out + 16 * i);
}

template <class S, class T>
void expand(const Q4_0::Block& block, T* out) {
  const float scale = S::half(block.scale);
  const auto codes = S::load(block.codes);
  S::store_scaled(S::subtract(low_nibbles<S>(codes), S::fill(8)), scale, out);
  S::store_scaled(S::subtract(high_nibbles<S>(codes), S::fill(8)), scale, out + 16);
}

template <class S, class T>
void expand(const Q4_1::Block& block, T* out) {
  const float scale = S::half(block.scale), minimum = S::half(block.minimum);
  const auto codes = S::load(block.codes);
  S::store_affine(low_nibbles<S>(codes), scale, minimum, out);
  S::store_affine(high_nibbles<S>(codes), scale, minimum, out + 16);
}

template <class S, class T>
void expand(const Q5_0::Block& block, T* out) {
  const float scale = S::half(block.scale);
  const uint32_t fifth = block.high_bits;
  const auto codes = S::load(block.codes);
  const auto low = S::bits_or(low_nibbles<S>(codes), fifth_bits<S>(uint16_t(fifth)));
  const auto high = S::bits_or(high_nibbles<S>(codes), fifth_bits<S>(uint16_t(fifth >> 16)));
  S::store_scaled(S::subtract(low, S::fill(16)), scale, out);
  S::store_scaled(S::subtract(high, S::fill(16)), scale, out + 16);
}

template <class S, class T>
void expand(const Q5_1::Block& block, T* out) {
  const float scale = S::half(block.scale), minimum = S::half(block.minimum);
  const uint32_t fifth = block.high_bits;
  const auto codes = S::load(block.codes);
  const auto low = S::bits_or(low_nibbles<S>(codes), fifth_bits<S>(uint16_t(fifth)));
  const auto high = S::bits_or(high_nibbles<S>(codes), fifth_bits<S>(uint16_t(fifth >> 16)));
  S::store_affine(low, scale, minimum, out);
  S::store_affine(high, scale, minimum, out + 16);
}

template <class S, int kCodes, class T>
void expand_bytes(const int8_t (&codes)[kCodes], float scale, T* out) {
  for (int i = 0; i < kCodes; i += 16) S::store_scaled(S::load(codes + i), scale, out + i);
}

template <class S, class T>
void expand(const Q8_0::Block& block, T* out) {
  expand_bytes<S>(block.codes, S::half(block.scale), out);
}

template <class S, class T>
void expand(const Q8_1::Block& block, T* out) {
  expand_bytes<S>(block.codes, S::half(block.scale), out);
}

template <class S, class T>
void expand(const Q8_K::Block& block, T* out) {
  expand_bytes<S>(block.codes, block.scale, out);
}

// 32 codes by the table's 16 entries; a byte holds weight i (low) and weight i + 16 (high).
template <class S, class T>
void expand_table(const int8_t (&table)[16], const uint8_t* bytes, float scale, T* out) {
  const auto entries = S::load(table), codes = S::load(bytes);
  S::store_scaled(S::look_up(entries, low_nibbles<S>(codes)), scale, out);
  S::store_scaled(S::look_up(entries, high_nibbles<S>(codes)), scale, out + 16);
}

template <class S, class T>
void expand(const IQ4_NL::Block& block, T* out) {
  expand_table<S>(kIQ4Values, block.codes, S::half(block.scale), out);
}

template <class S, class T>
void expand(const IQ4_XS::Block& block, T* out) {
  const float scale = S::half(block.scale);
  const uint32_t low = load_word<uint32_t>(block.scales_low), high = block.scales_high;
  for (int group = 0; group < 8; ++group) {
    const int s = int((low >> (4 * group) & 15) | (high >> (2 * group) & 3) << 4) - 32;
    expand_table<S>(kIQ4Values, block.codes + 16 * group, scale * float(s), out + 32 * group);
  }
}

template <class S, class T>
void expand(const MXFP4::Block& block, T* out) {
  expand_table<S>(kE2M1Doubled, block.codes, MXFP4::half_scale(block.exponent), out);
}

template <class S, class T>
void expand(const NVFP4::Block& block, T* out) {
  const auto entries = S::load(kE2M1Doubled);
  for (int pair = 0; pair < 2; ++pair) {  // of groups, whose 8 bytes hold weight i (low) and weight i + 8 (high)
    const auto codes = S::load(block.codes + 16 * pair);
    const auto low = S::look_up(entries, low_nibbles<S>(codes)), high = S::look_up(entries, high_nibbles<S>(codes));
    S::store_scaled(S::low_halves(low, high), NVFP4::half_e4m3(block.scales[2 * pair]), out + 32 * pair);
    S::store_scaled(S::high_halves(low, high), NVFP4::half_e4m3(block.scales[2 * pair + 1]), out + 32 * pair + 16);
  }
}

}  // namespace metallic::quant::inline METALLIC_ISA

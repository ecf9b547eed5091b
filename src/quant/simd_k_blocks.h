// Blocks of the K formats and of the ternary ones as numbers, over the primitives S of one instruction set: see
// simd_blocks.h. The scales of all groups of a block are made first, in vectors.
#pragma once

#include "quant/simd_blocks.h"

namespace metallic::quant::inline METALLIC_ISA {

// The twelve bytes of k_scales.h as 16: eight scales, eight minimums.
template <class S>
typename S::B k_scales(const uint8_t* bytes) {
  const uint32_t a = load_word<uint32_t>(bytes), b = load_word<uint32_t>(bytes + 4), c = load_word<uint32_t>(bytes + 8);
  return S::words(a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030), b & 0x3f3f3f3f,
                  (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
}

// Scale and offset of the eight groups of Q4_K and Q5_K.
template <class S>
struct KGroups {
  float scale[16], offset[16];  // the last eight scales and the first eight offsets are not used

  template <class Block>
  explicit KGroups(const Block& block) {
    const auto scales = k_scales<S>(block.scales);
    S::store_scaled(scales, S::half(block.scale), scale);
    S::store_scaled(scales, -S::half(block.minimum), offset);
  }
  float offset_of(int group) const { return offset[8 + group]; }
};

// Weights 32 * kShift / 2 on of a half block whose bytes hold 2-bit codes of four weights, 32 apart.
template <class S, int kShift, class T>
void store_q2_k(const uint8_t* codes, const float* scales, const float* offsets, T* out) {
  for (int i = 0; i < 2; ++i) {
    const auto two_bits = S::bits_and(S::template shift<kShift>(S::load(codes + 16 * i)), S::fill(3));
    S::store_affine(two_bits, scales[kShift + i], offsets[kShift + i], out + 16 * (kShift + i));
  }
}

template <class S, class T>
void expand(const Q2_K::Block& block, T* out) {
  const auto bytes = S::load(block.scales);
  float scales[16], offsets[16];
  S::store_scaled(low_nibbles<S>(bytes), S::half(block.scale), scales);
  S::store_scaled(high_nibbles<S>(bytes), -S::half(block.minimum), offsets);
  for (int half = 0; half < 2; ++half, out += 128) {
    const uint8_t* codes = block.codes + 32 * half;
    store_q2_k<S, 0>(codes, scales + 8 * half, offsets + 8 * half, out);
    store_q2_k<S, 2>(codes, scales + 8 * half, offsets + 8 * half, out);
    store_q2_k<S, 4>(codes, scales + 8 * half, offsets + 8 * half, out);
    store_q2_k<S, 6>(codes, scales + 8 * half, offsets + 8 * half, out);
  }
}

// The 32 weights from 32 * kPair on of Q3_K.
template <class S, int kPair, class T>
void store_q3_k(const Q3_K::Block& block, const float* scales, T* out) {
  for (int i = 0; i < 2; ++i) {
    const auto codes = S::load(block.codes + 32 * (kPair / 4) + 16 * i), high = S::load(block.high_bits + 16 * i);
    const auto low = S::bits_and(S::template shift<kPair % 4 * 2>(codes), S::fill(3));
    const auto third = S::bits_and(S::template shift<kPair - 2>(high), S::fill(4));
    S::store_scaled(S::subtract(S::bits_or(low, third), S::fill(4)), scales[2 * kPair + i], out + 32 * kPair + 16 * i);
  }
}

template <class S, class T>
void expand(const Q3_K::Block& block, T* out) {
  const uint32_t a = load_word<uint32_t>(block.scales), b = load_word<uint32_t>(block.scales + 4);
  const uint32_t top = load_word<uint32_t>(block.scales + 8);
  const auto bytes =
      S::words((a & 0x0f0f0f0f) | (top << 4 & 0x30303030), (b & 0x0f0f0f0f) | (top << 2 & 0x30303030),
               (a >> 4 & 0x0f0f0f0f) | (top & 0x30303030), (b >> 4 & 0x0f0f0f0f) | (top >> 2 & 0x30303030));
  float scales[16];
  S::store_scaled(S::subtract(bytes, S::fill(32)), S::half(block.scale), scales);
  store_q3_k<S, 0>(block, scales, out);
  store_q3_k<S, 1>(block, scales, out);
  store_q3_k<S, 2>(block, scales, out);
  store_q3_k<S, 3>(block, scales, out);
  store_q3_k<S, 4>(block, scales, out);
  store_q3_k<S, 5>(block, scales, out);
  store_q3_k<S, 6>(block, scales, out);
  store_q3_k<S, 7>(block, scales, out);
}

template <class S, class T>
void expand(const Q4_K::Block& block, T* out) {
  const KGroups<S> groups(block);
  for (int group = 0; group < 8; group += 2, out += 64) {
    const uint8_t* codes = block.codes + 16 * group;
    for (int i = 0; i < 32; i += 16) {
      const auto bytes = S::load(codes + i);
      S::store_affine(low_nibbles<S>(bytes), groups.scale[group], groups.offset_of(group), out + i);
      S::store_affine(high_nibbles<S>(bytes), groups.scale[group + 1], groups.offset_of(group + 1), out + 32 + i);
    }
  }
}

// Groups kGroup and kGroup + 1 of Q5_K.
template <class S, int kGroup, class T>
void store_q5_k(const Q5_K::Block& block, const KGroups<S>& groups, T* out) {
  for (int i = 0; i < 32; i += 16) {
    const auto bytes = S::load(block.codes + 16 * kGroup + i), fifth = S::load(block.high_bits + i);
    const auto low_fifth = S::bits_and(S::template shift<kGroup - 4>(fifth), S::fill(16));
    const auto high_fifth = S::bits_and(S::template shift<kGroup - 3>(fifth), S::fill(16));
    S::store_affine(S::bits_or(low_nibbles<S>(bytes), low_fifth), groups.scale[kGroup], groups.offset_of(kGroup),
                    out + 32 * kGroup + i);
    S::store_affine(S::bits_or(high_nibbles<S>(bytes), high_fifth), groups.scale[kGroup + 1],
                    groups.offset_of(kGroup + 1), out + 32 * kGroup + 32 + i);
  }
}

template <class S, class T>
void expand(const Q5_K::Block& block, T* out) {
  const KGroups<S> groups(block);
  store_q5_k<S, 0>(block, groups, out);
  store_q5_k<S, 2>(block, groups, out);
  store_q5_k<S, 4>(block, groups, out);
  store_q5_k<S, 6>(block, groups, out);
}

// 16 codes of Q6_K: a nibble, and two high bits from bit kShift of `high`, minus 32.
template <class S, int kShift, class T>
void store_q6_k(typename S::B nibbles, typename S::B high, float scale, T* out) {
  const auto top = S::bits_and(S::template shift<kShift - 4>(high), S::fill(0x30));
  S::store_scaled(S::subtract(S::bits_or(nibbles, top), S::fill(32)), scale, out);
}

template <class S, class T>
void expand(const Q6_K::Block& block, T* out) {
  float all_scales[16];
  S::store_scaled(S::load(block.scales), S::half(block.scale), all_scales);
  for (int half = 0; half < 2; ++half, out += 128) {
    const uint8_t* codes = block.low_bits + 64 * half;
    const float* scales = all_scales + 8 * half;
    for (int i = 0; i < 2; ++i) {
      const auto first = S::load(codes + 16 * i), second = S::load(codes + 32 + 16 * i);
      const auto high = S::load(block.high_bits + 32 * half + 16 * i);
      store_q6_k<S, 0>(low_nibbles<S>(first), high, scales[i], out + 16 * i);
      store_q6_k<S, 2>(low_nibbles<S>(second), high, scales[i + 2], out + 32 + 16 * i);
      store_q6_k<S, 4>(high_nibbles<S>(first), high, scales[i + 4], out + 64 + 16 * i);
      store_q6_k<S, 6>(high_nibbles<S>(second), high, scales[i + 6], out + 96 + 16 * i);
    }
  }
}

// The top digits in base 3 of 16 bytes, minus 1: what 3 * byte / 256 would give, without the product.
template <class S>
typename S::B top_digits(typename S::B bytes) {
  const auto up = S::subtract(S::fill(0xff), S::at_least(bytes, 86));
  return S::subtract(up, S::at_least(bytes, 171));
}
template <class S>
typename S::B times_three(typename S::B bytes) {
  return S::add(bytes, S::add(bytes, bytes));
}

template <class S, class T>
void expand(const TQ1_0::Block& block, T* out) {
  const float scale = S::half(block.scale);
  auto a = S::load(block.digits), b = S::load(block.digits + 16), c = S::load(block.digits + 32);
  for (int digit = 0; digit < 5; ++digit) {
    S::store_scaled(top_digits<S>(a), scale, out + 32 * digit);
    S::store_scaled(top_digits<S>(b), scale, out + 32 * digit + 16);
    S::store_scaled(top_digits<S>(c), scale, out + 160 + 16 * digit);
    a = times_three<S>(a);
    b = times_three<S>(b);
    c = times_three<S>(c);
  }
  uint32_t last[4] = {load_word<uint32_t>(block.last_digits)};
  for (int i = 1; i < 4; ++i) {  // each byte times three
    const uint32_t even = (last[i - 1] & 0x00ff00ff) * 3 & 0x00ff00ff, odd = (last[i - 1] >> 8 & 0x00ff00ff) * 3 << 8;
    last[i] = even | (odd & 0xff00ff00);
  }
  S::store_scaled(top_digits<S>(S::words(last[0], last[1], last[2], last[3])), scale, out + 240);
}

template <class S, int kShift, class T>
void store_tq2_0(typename S::B codes, float scale, T* out) {
  const auto two_bits = S::bits_and(S::template shift<kShift>(codes), S::fill(3));
  S::store_scaled(S::subtract(two_bits, S::fill(1)), scale, out + 16 * kShift);
}

template <class S, class T>
void expand(const TQ2_0::Block& block, T* out) {
  const float scale = S::half(block.scale);
  for (int i = 0; i < 4; ++i) {
    const auto codes = S::load(block.codes + 16 * i);
    T* to = out + 128 * (i / 2) + 16 * (i % 2);
    store_tq2_0<S, 0>(codes, scale, to);
    store_tq2_0<S, 2>(codes, scale, to);
    store_tq2_0<S, 4>(codes, scale, to);
    store_tq2_0<S, 6>(codes, scale, to);
  }
}

}  // namespace metallic::quant::inline METALLIC_ISA

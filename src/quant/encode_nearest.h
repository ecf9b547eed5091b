// Encoders that round to nearest, byte for byte as llama.cpp does: the scale follows from the extreme weights alone.
// Weights are finite. (F16, BF16 and Q8_0 are encoded where they are decoded: plain.h, q8_0.h.)
#pragma once

#include <cmath>
#include <cstring>

#include "quant/formats.h"

namespace metallic::quant::inline METALLIC_ISA {

inline float inverse_or_zero(float value) { return value == 0 ? 0 : 1 / value; }

// The weight of the largest magnitude, the first of several.
inline float extreme_weight(const float* weights, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i)
    if (std::fabs(weights[i]) > std::fabs(extreme)) extreme = weights[i];
  return extreme;
}

// Codes of 32 weights, weight i in the low and weight i + 16 in the high half of byte i, and bit 4 of each in `high`.
inline uint32_t pack_nibbles(const int* codes, uint8_t* bytes) {
  uint32_t high = 0;
  for (int i = 0; i < 16; ++i) {
    bytes[i] = uint8_t((codes[i] & 15) | (codes[i + 16] & 15) << 4);
    high |= uint32_t(codes[i] >> 4 & 1) << i | uint32_t(codes[i + 16] >> 4 & 1) << (i + 16);
  }
  return high;
}

// Codes of weight / scale + kHalf, where the extreme weight gets -kHalf.
template <int kHalf>
void signed_codes(const float* weights, Half& scale, int* codes) {
  const float exact = extreme_weight(weights, 32) / float(-kHalf);
  const float inverse = inverse_or_zero(exact);
  for (int i = 0; i < 32; ++i) codes[i] = std::min(int(weights[i] * inverse + (float(kHalf) + 0.5f)), 2 * kHalf - 1);
  scale = Half::of(exact);
}

// Codes from 0 for the smallest to kCodeMax for the largest weight.
template <int kCodeMax>
void offset_codes(const float* weights, Half& scale, Half& minimum, int* codes) {
  float low = weights[0], high = weights[0];
  for (int i = 1; i < 32; ++i) {
    low = std::min(low, weights[i]);
    high = std::max(high, weights[i]);
  }
  const float exact = (high - low) / float(kCodeMax);
  const float inverse = inverse_or_zero(exact);
  for (int i = 0; i < 32; ++i) codes[i] = std::min(int((weights[i] - low) * inverse + 0.5f), kCodeMax);
  scale = Half::of(exact);
  minimum = Half::of(low);
}

inline void encode_nearest(const float* weights, Q4_0::Block& block) {
  int codes[32];
  signed_codes<8>(weights, block.scale, codes);
  pack_nibbles(codes, block.codes);
}
inline void encode_nearest(const float* weights, Q5_0::Block& block) {
  int codes[32];
  signed_codes<16>(weights, block.scale, codes);
  block.high_bits = Unaligned<uint32_t>::of(pack_nibbles(codes, block.codes));
}
inline void encode_nearest(const float* weights, Q4_1::Block& block) {
  int codes[32];
  offset_codes<15>(weights, block.scale, block.minimum, codes);
  pack_nibbles(codes, block.codes);
}
inline void encode_nearest(const float* weights, Q5_1::Block& block) {
  int codes[32];
  offset_codes<31>(weights, block.scale, block.minimum, codes);
  block.high_bits = Unaligned<uint32_t>::of(pack_nibbles(codes, block.codes));
}
inline void encode_nearest(const float* weights, Q8_0::Block& block) { Q8_0::encode(weights, block); }

// Signs, and the mean magnitude as scale.
inline void encode_nearest(const float* weights, Q1_0::Block& block) {
  float sum = 0;
  for (int i = 0; i < Q1_0::kBlock; ++i) sum += std::fabs(weights[i]);
  block.scale = Half::of(sum / float(Q1_0::kBlock));
  std::memset(block.bits, 0, sizeof(block.bits));
  for (int i = 0; i < Q1_0::kBlock; ++i)
    if (weights[i] >= 0) block.bits[i / 8] |= uint8_t(1 << (i % 8));
}

// weight / scale + 1 with the largest magnitude as scale: 0, 1 or 2, ties away from zero.
inline void ternary_codes(const float* weights, Half& scale, int* codes) {
  const float largest = std::fabs(extreme_weight(weights, 256));
  const float inverse = inverse_or_zero(largest);
  for (int i = 0; i < 256; ++i) codes[i] = int(std::lround(weights[i] * inverse)) + 1;
  scale = Half::of(largest);
}

// Five digits in base 3, the first the most significant, as the fraction of 256 that decodes to them.
inline uint8_t pack_digits(const int* codes, int count, int stride) {
  int value = 0;
  for (int i = 0; i < 5; ++i) value = 3 * value + (i < count ? codes[i * stride] : 0);
  return uint8_t((value * 256 + 242) / 243);
}

inline void encode_nearest(const float* weights, TQ1_0::Block& block) {
  int codes[256];
  ternary_codes(weights, block.scale, codes);
  for (int i = 0; i < 32; ++i) block.digits[i] = pack_digits(codes + i, 5, 32);
  for (int i = 0; i < 16; ++i) block.digits[32 + i] = pack_digits(codes + 160 + i, 5, 16);
  for (int i = 0; i < 4; ++i) block.last_digits[i] = pack_digits(codes + 240 + i, 4, 4);
}

inline void encode_nearest(const float* weights, TQ2_0::Block& block) {
  int codes[256];
  ternary_codes(weights, block.scale, codes);
  for (int i = 0; i < 64; ++i) {
    const int* const first = codes + i / 32 * 128 + i % 32;
    block.codes[i] = uint8_t(first[0] | first[32] << 2 | first[64] << 4 | first[96] << 6);
  }
}

// The index of the E2M1 value nearest to weight / scale, the first of several, where scale belongs to doubled values.
inline int nearest_e2m1(float weight, float scale) {
  int best = 0;
  for (int i = 1; i < 16; ++i)
    if (std::fabs(float(kE2M1Doubled[i]) * scale - weight) < std::fabs(float(kE2M1Doubled[best]) * scale - weight))
      best = i;
  return best;
}

inline void encode_nearest(const float* weights, MXFP4::Block& block) {
  const float largest = std::fabs(extreme_weight(weights, 32));
  // Its exponent, less that of the largest E2M1 value (4 = 2^2), in [0, 254].
  int exponent = 0;
  if (largest > 0) exponent = std::clamp(std::ilogb(largest) - 2 + 127, 0, 254);
  block.exponent = uint8_t(exponent);
  const float scale = std::bit_cast<float>(exponent < 2 ? 0x00200000u << exponent : uint32_t(exponent - 1) << 23);
  for (int i = 0; i < 16; ++i)
    block.codes[i] = uint8_t(nearest_e2m1(weights[i], scale) | nearest_e2m1(weights[i + 16], scale) << 4);
}

// The unsigned E4M3 (bias 7) for a scale: ties go up, and all from 256 on becomes the largest, 448, as in llama.cpp.
inline uint8_t nearest_e4m3(float value) {
  if (!(value > 0)) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(std::min(value, 448.0f));
  if (int(bits >> 23) - 127 + 7 <= 0) return uint8_t(std::min(int(value * 512 + 0.5f), 7));
  const uint32_t rounded = (bits + (1u << 19)) >> 20;  // sign, exponent, 3 bits of mantissa
  const int code = int(rounded) - (127 - 7) * 8;
  return uint8_t(code >= 15 * 8 ? 0x7e : code);
}

inline void encode_nearest(const float* weights, NVFP4::Block& block) {
  for (int group = 0; group < 4; ++group, weights += 16) {
    block.scales[group] = nearest_e4m3(std::fabs(extreme_weight(weights, 16)) / 6);
    const float scale = NVFP4::half_e4m3(block.scales[group]);
    for (int i = 0; i < 8; ++i)
      block.codes[8 * group + i] = uint8_t(nearest_e2m1(weights[i], scale) | nearest_e2m1(weights[i + 8], scale) << 4);
  }
}

}  // namespace metallic::quant::inline METALLIC_ISA

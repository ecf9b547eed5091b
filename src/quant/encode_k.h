// Encoders of the K formats, and of Q4_0, Q4_1, Q5_0 and Q5_1 where the importance of their columns is known.
#pragma once

#include "quant/encode_nearest.h"
#include "quant/offset_search.h"
#include "quant/scale_search.h"

namespace metallic::quant::inline METALLIC_ISA {

template <int kSize>
void to_integers(const float* v, int* codes) {
  for (int i = 0; i < kSize; ++i) codes[i] = int(v[i]);
}

// Codes of a group under the scales that were found.
template <class Coder>
void final_codes(const SearchInput<Coder::kGroup * Coder::kGroups>& input, const Scales<Coder>& scales, int group,
                 int* codes) {
  float v[Coder::kGroup];
  Coder::nearest(input.x + group * Coder::kGroup, input.w + group * Coder::kGroup, scales.of(group), v);
  to_integers<Coder::kGroup>(v, codes);
}
template <class Coder>
void final_codes(const SearchInput<Coder::kGroup * Coder::kGroups>& input, const OffsetScales<Coder>& scales, int group,
                 int* codes) {
  float v[Coder::kGroup];
  nearest_codes<Coder>(input.x + group * Coder::kGroup, scales.scale_of(group), scales.minimum_of(group), v);
  to_integers<Coder::kGroup>(v, codes);
}

struct CoderQ3_K : IntegerCodes<16, 16, -4, 3> {
  static constexpr int kStepMin = -32, kStepMax = 31;
  static constexpr float kFactor = 1, kShift = 0;
  static constexpr auto kDivisors = joined(spaced<13>(-5.2f, -2.8f), spaced<7>(2.6f, 3.8f));
};

inline void encode(const SearchInput<256>& input, Q3_K::Block& block) {
  const Scales<CoderQ3_K> scales = search_scales<CoderQ3_K>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  for (int group = 0; group < 16; ++group) {
    const int step = scales.steps[group] + 32;
    block.scales[group % 8] |= uint8_t((step & 15) << (group / 8 * 4));
    block.scales[8 + group % 4] |= uint8_t(step >> 4 << (group / 4 * 2));
    int codes[16];
    final_codes(input, scales, group, codes);
    for (int i = 0; i < 16; ++i) {
      block.codes[32 * (group / 8) + 16 * (group % 2) + i] |= uint8_t(((codes[i] + 4) & 3) << (group % 8 / 2 * 2));
      block.high_bits[16 * (group % 2) + i] |= uint8_t((codes[i] + 4) >> 2 << (group / 2));
    }
  }
}

struct CoderQ6_K : IntegerCodes<16, 16, -32, 31> {
  static constexpr int kStepMin = -128, kStepMax = 127;
  static constexpr float kFactor = 1, kShift = 0;
  static constexpr auto kDivisors = joined(spaced<13>(-33.2f, -29.6f), spaced<7>(29.8f, 31.6f));
};

inline void encode(const SearchInput<256>& input, Q6_K::Block& block) {
  const Scales<CoderQ6_K> scales = search_scales<CoderQ6_K>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  for (int group = 0; group < 16; ++group) {
    block.scales[group] = int8_t(scales.steps[group]);
    const int half = group / 8, first = group % 2 * 16;
    uint8_t* const low = block.low_bits + 64 * half + group % 4 / 2 * 32 + first;
    uint8_t* const high = block.high_bits + 32 * half + first;
    int codes[16];
    final_codes(input, scales, group, codes);
    for (int i = 0; i < 16; ++i) {
      low[i] |= uint8_t(((codes[i] + 32) & 15) << (group % 8 / 4 * 4));
      high[i] |= uint8_t((codes[i] + 32) >> 4 << (group % 8 / 2 * 2));
    }
  }
}

struct CoderQ2_K {
  static constexpr int kGroup = 16, kGroups = 16, kCodeMax = 3, kStepMax = 15, kReach = 2;
};

inline void encode(const SearchInput<256>& input, Q2_K::Block& block) {
  const OffsetScales<CoderQ2_K> scales = search_offset_scales<CoderQ2_K>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  block.minimum = Half::of(scales.minimum * input.unit);
  for (int group = 0; group < 16; ++group) {
    block.scales[group] = uint8_t(scales.steps[group] | scales.minimum_steps[group] << 4);
    int codes[16];
    final_codes(input, scales, group, codes);
    for (int i = 0; i < 16; ++i)
      block.codes[32 * (group / 8) + 16 * (group % 2) + i] |= uint8_t(codes[i] << (group % 8 / 2 * 2));
  }
}

struct CoderQ4_K {
  static constexpr int kGroup = 32, kGroups = 8, kCodeMax = 15, kStepMax = 63, kReach = 1;
};

inline void encode(const SearchInput<256>& input, Q4_K::Block& block) {
  const OffsetScales<CoderQ4_K> scales = search_offset_scales<CoderQ4_K>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  block.minimum = Half::of(scales.minimum * input.unit);
  for (int group = 0; group < 8; ++group) {
    put_k_scale(block.scales, group, scales.steps[group], scales.minimum_steps[group]);
    int codes[32];
    final_codes(input, scales, group, codes);
    for (int i = 0; i < 32; ++i) block.codes[32 * (group / 2) + i] |= uint8_t(codes[i] << (group % 2 * 4));
  }
}

struct CoderQ5_K {
  static constexpr int kGroup = 32, kGroups = 8, kCodeMax = 31, kStepMax = 63, kReach = 1;
};

inline void encode(const SearchInput<256>& input, Q5_K::Block& block) {
  const OffsetScales<CoderQ5_K> scales = search_offset_scales<CoderQ5_K>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  block.minimum = Half::of(scales.minimum * input.unit);
  for (int group = 0; group < 8; ++group) {
    put_k_scale(block.scales, group, scales.steps[group], scales.minimum_steps[group]);
    int codes[32];
    final_codes(input, scales, group, codes);
    for (int i = 0; i < 32; ++i) {
      block.codes[32 * (group / 2) + i] |= uint8_t((codes[i] & 15) << (group % 2 * 4));
      block.high_bits[i] |= uint8_t(codes[i] >> 4 << group);
    }
  }
}

struct CoderQ4_0 : IntegerCodes<32, 1, -8, 7>, OneScale {
  static constexpr auto kDivisors = joined(spaced<13>(-9.2f, -6.8f), spaced<7>(6.4f, 7.6f));
};
struct CoderQ5_0 : IntegerCodes<32, 1, -16, 15>, OneScale {
  static constexpr auto kDivisors = joined(spaced<13>(-17.2f, -14.8f), spaced<7>(14.4f, 15.6f));
};

// Codes of a block with one scale, all above zero.
template <class Coder>
void one_scale_codes(const SearchInput<32>& input, int shift, Half& scale, int* codes) {
  const Scales<Coder> scales = search_scales<Coder>(input.x, input.w, input.unit);
  scale = Half::of(scales.scale * input.unit);
  final_codes(input, scales, 0, codes);
  for (int i = 0; i < 32; ++i) codes[i] += shift;
}

inline void encode(const SearchInput<32>& input, Q4_0::Block& block) {
  int codes[32];
  one_scale_codes<CoderQ4_0>(input, 8, block.scale, codes);
  pack_nibbles(codes, block.codes);
}
inline void encode(const SearchInput<32>& input, Q5_0::Block& block) {
  int codes[32];
  one_scale_codes<CoderQ5_0>(input, 16, block.scale, codes);
  block.high_bits = Unaligned<uint32_t>::of(pack_nibbles(codes, block.codes));
}

template <int kMax>
struct CoderWithMinimum {
  static constexpr int kGroup = 32, kGroups = 1, kCodeMax = kMax, kStepMax = 0, kReach = 0;
};

template <int kMax>
void minimum_codes(const SearchInput<32>& input, Half& scale, Half& minimum, int* codes) {
  using Coder = CoderWithMinimum<kMax>;
  const OffsetScales<Coder> scales = search_offset_scales<Coder>(input.x, input.w, input.unit);
  scale = Half::of(scales.scale * input.unit);
  minimum = Half::of(-scales.minimum * input.unit);
  final_codes(input, scales, 0, codes);
}

inline void encode(const SearchInput<32>& input, Q4_1::Block& block) {
  int codes[32];
  minimum_codes<15>(input, block.scale, block.minimum, codes);
  pack_nibbles(codes, block.codes);
}
inline void encode(const SearchInput<32>& input, Q5_1::Block& block) {
  int codes[32];
  minimum_codes<31>(input, block.scale, block.minimum, codes);
  block.high_bits = Unaligned<uint32_t>::of(pack_nibbles(codes, block.codes));
}

}  // namespace metallic::quant::inline METALLIC_ISA

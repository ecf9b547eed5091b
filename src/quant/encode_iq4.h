// Encoders of IQ4_NL and IQ4_XS: codes from a fixed table of 16 values.
#pragma once

#include "quant/codebook.h"
#include "quant/encode_k.h"

namespace metallic::quant::inline METALLIC_ISA {

template <int kCount>
struct TableCodes {
  static constexpr int kGroup = 32, kGroups = kCount;
  static constexpr bool kSignedScale = true;
  static constexpr auto kDivisors = joined(spaced<13>(-142.0f, -94.0f), spaced<11>(88.0f, 128.0f));

  static void nearest(const float* x, const float*, float scale, float* v) {
    const float inverse = scale == 0 ? 0 : 1 / scale;
    for (int i = 0; i < kGroup; ++i) v[i] = float(kIQ4Values[0]);
    for (int k = 1; k < 16; ++k) {
      const float threshold = 0.5f * (float(kIQ4Values[k - 1]) + float(kIQ4Values[k]));
      const float step = float(kIQ4Values[k]) - float(kIQ4Values[k - 1]);
      for (int i = 0; i < kGroup; ++i) v[i] += x[i] * inverse > threshold ? step : 0.0f;
    }
  }
};

// The numbers of table values, packed.
inline void pack_table_codes(const float* v, uint8_t* bytes) {
  int codes[32];
  for (int i = 0; i < 32; ++i) {
    codes[i] = 0;
    while (kIQ4Values[codes[i]] != int(v[i])) ++codes[i];
  }
  pack_nibbles(codes, bytes);
}

struct CoderIQ4_NL : TableCodes<1>, OneScale {};

inline void encode(const SearchInput<32>& input, IQ4_NL::Block& block) {
  const Scales<CoderIQ4_NL> scales = search_scales<CoderIQ4_NL>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  float v[32];
  CoderIQ4_NL::nearest(input.x, input.w, scales.of(0), v);
  pack_table_codes(v, block.codes);
}

struct CoderIQ4_XS : TableCodes<8> {
  static constexpr int kStepMin = -32, kStepMax = 31;
  static constexpr float kFactor = 1, kShift = 0;
};

inline void encode(const SearchInput<256>& input, IQ4_XS::Block& block) {
  const Scales<CoderIQ4_XS> scales = search_scales<CoderIQ4_XS>(input.x, input.w, input.unit);
  block.scale = Half::of(scales.scale * input.unit);
  uint16_t high = 0;
  for (int group = 0; group < 8; ++group) {
    const int step = scales.steps[group] + 32;
    block.scales_low[group / 2] |= uint8_t((step & 15) << (group % 2 * 4));
    high = uint16_t(high | step >> 4 << (2 * group));
    float v[32];
    CoderIQ4_XS::nearest(input.x + 32 * group, input.w + 32 * group, scales.of(group), v);
    pack_table_codes(v, block.codes + 16 * group);
  }
  block.scales_high = Unaligned<uint16_t>::of(high);
}

}  // namespace metallic::quant::inline METALLIC_ISA

// The products of panels.h over the primitives of one instruction set (struct P). Included in the unnamed namespace of
// each folder's panels.cc, after simd_panel_common.h.
//
// Floor of a packed dot: the panel's bytes; of an unpacked one: a dot-product instruction for each vector of codes and
// token. Per 32 columns it costs three more instructions for the scales, and a fourth for the offsets.

template <class Pack, int kTokens>
void dot_packed(const uint8_t* panel, int64_t groups, const TokenTile& tokens, float* sums) {
  using Scales = typename Pack::Scales;
  constexpr int kHalves = Scales::kHalves;
  constexpr bool kOffset = Pack::F::kHasOffset;
  const uint8_t* codes = panel;
  const uint8_t* scales = panel + Pack::scales_at(groups);
  const int8_t* x = tokens.codes;
  const TokenGroup* info = tokens.groups;
  P::V accumulator[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) accumulator[t] = P::zero();
  const auto one_group = [&](const uint8_t* header, const uint8_t* group) {
#pragma GCC unroll 8
    for (int64_t at = 0; at < Pack::kCodeBytes; at += 64) __builtin_prefetch(codes + kPrefetch + at);
    P::I sum[kTokens][2];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) sum[t][half] = start_sum<Pack::kBias, kHalves>(info[t], half);
    const typename Pack::Planes planes = Pack::load(codes);
    for_steps(
        [&](auto step) {
          const P::C c = Pack::template step<step>(planes);
          constexpr int kHalf = kHalves == 2 ? step / 4 : 0;
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t)
            sum[t][kHalf] =
                P::template dot<Pack::kSigned>(sum[t][kHalf], c, P::load_token(x + t * kGroupColumns + 4 * step));
        },
        kAllSteps);
    P::V scale[kHalves], offset[kHalves];
    Scales::read(header, group, scale, offset);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      for (int half = 0; half < kHalves; ++half)
        accumulator[t] = add_products(accumulator[t], sum[t][half], scale[half], info[t]);
      if constexpr (kOffset) accumulator[t] = add_offsets<kHalves>(accumulator[t], offset, info[t]);
    }
    codes += Pack::kCodeBytes;
    x += kTokens * kGroupColumns;
    info += kTokens;
  };
  for (int64_t g = 0; g < groups; g += Scales::kSuper) {
    const uint8_t* header = scales;
    scales += Scales::kHeader;
    for (int i = 0; i < Scales::kSuper; ++i, scales += Scales::kBytes) one_group(header, scales);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) P::store(sums + t * P::kWidth, accumulator[t]);
}

template <int kHalves, bool kOffset, int kPanels, int kTokens>
void dot_unpacked(const UnpackedPanel& panels, int64_t panel_groups, int64_t groups, const TokenTile& tokens,
                  float* sums) {
  constexpr int64_t kGroupBytes = kGroupSteps * kLaneBytes, kGroupScales = kHalves * P::kWidth;
  constexpr int kSteps = kGroupSteps / kHalves;
  P::V accumulator[kPanels][kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) accumulator[p][t] = P::load(sums + (t * kPanels + p) * P::kWidth);
  const uint8_t* codes = panels.codes;
  const int8_t* x = tokens.codes;
  const TokenGroup* info = tokens.groups;
  for (int64_t g = 0; g < groups; ++g) {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      P::I sum[kPanels][kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const P::I start = start_sum<P::kSignedBias, kHalves>(info[t], half);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) sum[p][t] = start;
      }
#pragma GCC unroll 8
      for (int i = 0; i < kSteps; ++i) {
        const int s = half * kSteps + i;
        P::C c[kPanels];
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) c[p] = P::load(codes + p * panel_groups * kGroupBytes + s * kLaneBytes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const P::T token = P::load_token(x + t * kGroupColumns + 4 * s);
#pragma GCC unroll 2
          for (int p = 0; p < kPanels; ++p) sum[p][t] = P::template dot<true>(sum[p][t], c[p], token);
        }
      }
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        const P::V scale = P::load(panels.scales + (p * panel_groups + g) * kGroupScales + half * P::kWidth);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t)
          accumulator[p][t] = add_products(accumulator[p][t], sum[p][t], scale, info[t]);
      }
    }
    if constexpr (kOffset) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        P::V offset[kHalves];
#pragma GCC unroll 2
        for (int half = 0; half < kHalves; ++half)
          offset[half] = P::load(panels.offsets + (p * panel_groups + g) * kGroupScales + half * P::kWidth);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) accumulator[p][t] = add_offsets<kHalves>(accumulator[p][t], offset, info[t]);
      }
    }
    codes += kGroupBytes;
    x += kTokens * kGroupColumns;
    info += kTokens;
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) P::store(sums + (t * kPanels + p) * P::kWidth, accumulator[p][t]);
}

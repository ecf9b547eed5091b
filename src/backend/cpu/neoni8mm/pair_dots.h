// The products of ../panels.h with matrix instructions. Included in the unnamed namespace of panels.cc, in place of
// ../simd_panel_dots.h, whose results it equals bit for bit: the integer sums are exact, the floats come in the same
// order.
//
// Floor: a matrix instruction for two rows, two tokens and eight columns; per group and panel eight re-arrangements of
// the weights, per group, panel and pair two of the sums. Tested under emulation, not timed.

// The integer sums of up to six tokens and a panel. While products are added, the sums of a pair of tokens (a, b) are
// {a row 0, b row 0, a row 1, b row 1} and the same of rows 2 and 3; those of a token without a partner are its rows.
template <int kTokens>
struct PairSums {
  P::I sum[kTokens];

  template <int kBias, int kHalves>
  void start(const TokenGroup* info, int half) {
#pragma GCC unroll 8
    for (int t = 0; t + 1 < kTokens; t += 2)
      sum[t] = sum[t + 1] =
          vtrn1q_s32(start_sum<kBias, kHalves>(info[t], half), start_sum<kBias, kHalves>(info[t + 1], half));
    if constexpr (kTokens % 2 == 1) sum[kTokens - 1] = start_sum<kBias, kHalves>(info[kTokens - 1], half);
  }
  // Two steps; x: the first token's codes of these columns.
  void add(P::C step, P::C next, const int8_t* x) {
    if constexpr (kTokens > 1) {
      const int8x16_t lower = P::two_rows<false>(step, next), upper = P::two_rows<true>(step, next);
#pragma GCC unroll 8
      for (int t = 0; t + 1 < kTokens; t += 2) {
        const int8x16_t pair = P::two_tokens(x + t * kGroupColumns, x + (t + 1) * kGroupColumns);
        sum[t] = vmmlaq_s32(sum[t], lower, pair);
        sum[t + 1] = vmmlaq_s32(sum[t + 1], upper, pair);
      }
    }
    if constexpr (kTokens % 2 == 1) {
      const int8_t* alone = x + (kTokens - 1) * kGroupColumns;
      sum[kTokens - 1] = P::dot<true>(sum[kTokens - 1], step, P::load_token(alone));
      sum[kTokens - 1] = P::dot<true>(sum[kTokens - 1], next, P::load_token(alone + 4));
    }
  }
  // Afterwards sum[t] is that of token t.
  void finish() {
#pragma GCC unroll 8
    for (int t = 0; t + 1 < kTokens; t += 2) {
      const P::I lower = sum[t], upper = sum[t + 1];
      sum[t] = vuzp1q_s32(lower, upper);
      sum[t + 1] = vuzp2q_s32(lower, upper);
    }
  }
};

template <class Pack, int kPanels, int kTokens>
[[gnu::always_inline]] inline void dot_bundle(const uint8_t* chunk, int64_t stride, int64_t groups,
                                              const TokenTile& tokens, const PanelOutput& out) {
  using Scales = typename Pack::Scales;
  constexpr int kHalves = Scales::kHalves, kPairsOfSteps = kGroupSteps / 2;
  constexpr bool kOffset = Pack::F::kHasOffset;
  const int8_t* x = tokens.codes;
  const TokenGroup* info = tokens.groups;
  P::V accumulator[kPanels][kTokens];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) accumulator[p][t] = P::zero();
  // A group of one panel.
  const auto multiply = [&](P::V* sum, const typename Scales::Header& header, const uint8_t* scales,
                            const uint8_t* codes) {
#pragma GCC unroll 8
    for (int64_t at = 0; at < Pack::kCodeBytes; at += 64) fetch_ahead(codes + at);
    PairSums<kTokens> products[kHalves];
    for (int half = 0; half < kHalves; ++half) products[half].template start<Pack::kBias, kHalves>(info, half);
    const typename Pack::Planes planes = Pack::load(codes);
    for_steps(
        [&](auto pair) {
          constexpr int kStep = 2 * pair;
          products[kStep * kHalves / kGroupSteps].add(Pack::template step<kStep>(planes),
                                                      Pack::template step<kStep + 1>(planes), x + 4 * kStep);
        },
        std::make_integer_sequence<int, kPairsOfSteps>());
    for (int half = 0; half < kHalves; ++half) products[half].finish();
    P::V scale[kHalves], offset[kHalves];
    Scales::read(header, scales, scale, offset);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      P::I halves[kHalves];
      for (int half = 0; half < kHalves; ++half) halves[half] = products[half].sum[t];
      sum[t] = add_products<kHalves>(sum[t], halves, scale, info[t]);
      if constexpr (kOffset) sum[t] = add_offsets<kHalves>(sum[t], offset, info[t]);
    }
  };
  for (int64_t left = groups; left > 0; left -= Pack::kChunk, chunk += stride)
    for (int i = 0; i < Pack::kChunk && i < left; ++i) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        const uint8_t* from = chunk + p * Pack::kChunkBytes;
        multiply(accumulator[p], typename Scales::Header(from), from + Pack::scales_of(i), from + Pack::codes_of(i));
      }
      x += kTokens * kGroupColumns;
      info += kTokens;
    }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) store_products(out, t, p, accumulator[p][t]);
}

template <class Pack, int kPanels, int kTokens>
void dot_packed(const PackedPanels& panels, int64_t groups, const TokenTile& tokens, const PanelOutput& out) {
  each_bundle<kPanels, Pack::kChunk>(
      panels, groups,
      out, [&](const uint8_t* first, int64_t stride, const PanelOutput& to) __attribute__((always_inline)) {
        dot_bundle<Pack, kPanels, kTokens>(first, stride, groups, tokens, to);
      });
}

template <class Pack>
struct InOrder {
  static constexpr int kTokens = 0;  // none
};

template <int kHalves, bool kOffset, int kPanels, int kTokens, bool kMultiples = false>
void dot_unpacked(const UnpackedPanel& panels, int64_t panel_groups, int64_t groups, const TokenTile& tokens,
                  const UnpackedSums& sums) {
  static_assert(!kMultiples);
  constexpr int64_t kGroupBytes = kGroupSteps * kLaneBytes, kGroupScales = kHalves * P::kWidth;
  constexpr int kSteps = kGroupSteps / kHalves;
  P::V accumulator[kPanels][kTokens];
  begin_sums(sums, tokens, accumulator);
  const int8_t* x = tokens.codes;
  const TokenGroup* info = tokens.groups;
  for (int64_t g = 0; g < groups; ++g) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      const uint8_t* from = panels.codes + (p * panel_groups + g) * kGroupBytes;
      const int64_t scales_at = (p * panel_groups + g) * kGroupScales;
      PairSums<kTokens> products[kHalves];
      P::V scale[kHalves], offset[kHalves];
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        products[half].template start<kUnpackedBias, kHalves>(info, half);
#pragma GCC unroll 8
        for (int s = half * kSteps; s < (half + 1) * kSteps; s += 2)
          products[half].add(P::load(from + s * kLaneBytes), P::load(from + (s + 1) * kLaneBytes), x + 4 * s);
        products[half].finish();
        scale[half] = P::load(panels.scales + scales_at + half * P::kWidth);
        if constexpr (kOffset) offset[half] = P::load(panels.offsets + scales_at + half * P::kWidth);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        P::I halves[kHalves];
        for (int half = 0; half < kHalves; ++half) halves[half] = products[half].sum[t];
        accumulator[p][t] = add_products<kHalves>(accumulator[p][t], halves, scale, info[t]);
        if constexpr (kOffset) accumulator[p][t] = add_offsets<kHalves>(accumulator[p][t], offset, info[t]);
      }
    }
    x += kTokens * kGroupColumns;
    info += kTokens;
  }
  finish_sums(sums, tokens, accumulator);
}

template <int kHalves, bool kOffset, int kPanels, bool kMultiples>
struct GroupDots {
  static constexpr int kMostTokens = P::kTokens;
  template <int kTokens>
  static void add(const UnpackedPanel& panels, int64_t panel_groups, int64_t g, const TokenTile& tokens, float* sums) {
    dot_unpacked<kHalves, kOffset, kPanels, kTokens>(panels.further(g, kHalves, P::kWidth), panel_groups, 1, tokens,
                                                     {sums});
  }
};

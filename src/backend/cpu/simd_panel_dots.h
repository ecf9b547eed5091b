// The products of panels.h over the primitives of one instruction set (struct P). Included in the unnamed namespace of
// each folder's panels.cc, after simd_panel_common.h.
//
// Floor of a packed dot: the panel's bytes; of an unpacked one: a dot-product instruction for each vector of codes and
// token. Per 32 columns it costs three more instructions for the scales (five if its halves have their own), and
// another for the offsets. AMD Zen 4 converts beside the multiplications: 8 of 10 are dot products, and 80 % of the
// peak is reached from the first-level cache; 73 % with offsets and with two scales. With multiples of the weights'
// scales it is 8 of 9, and 87 % are reached (77 % with offsets): powers of two go beside the multiplications.

// sum(p) += c[p] * four codes of a token, for each panel p. For one panel, instructions that take the four from memory
// and spread them themselves (P::dot_at) save another that does; for two, they would load them twice.
template <class Primitives>
concept TakesTokensFromMemory = requires {
  &Primitives::dot_at;
};

template <bool kSigned, int kPanels, class Sum, class Primitives = P>
inline void dot_panels(const Sum& sum, const P::C* c, const int8_t* token) {
  if constexpr (TakesTokensFromMemory<Primitives> && kPanels == 1) {
    sum(0) = Primitives::dot_at(sum(0), c[0], token);
  } else {
    const P::T four = P::load_token(token);
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sum(p) = P::template dot<kSigned>(sum(p), c[p], four);
  }
}

// Few tokens: the products of a group are summed in two parts, since one instruction after the other would take longer
// than the bytes take to arrive. The parts are whole numbers, so the sum is the same.
template <int kSums>
constexpr int kSumParts = kSums <= 2 ? 2 : 1;

// How packed panels are multiplied.
enum class Way {
  kTogether,            // the chunks of both panels at once, so that the codes of a token are loaded once
  kInOrder,             // chunk after chunk
  kInOrderWithSeconds,  // and then second codes of the one token, while the panels are in the cache
};

// What a kernel of packed panels adds up: the products of kTokens tokens with kPanels panels at once.
template <class Pack, int kPanels, int kTokens, Way kWay>
struct PackedDot {
  using Scales = typename Pack::Scales;
  using Header = typename Scales::Header;
  using Sums = P::V[kPanels][kTokens];
  static constexpr bool kInOrder = kWay != Way::kTogether;
  static constexpr bool kKept = kInOrder && Pack::kLow < 8;  // planes that more than one step uses
  static constexpr int kHalves = Scales::kHalves, kParts = kHalves == 2 ? 1 : kSumParts<kPanels * kTokens>;

  Sums sums;

  void clear() {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) sums[p][t] = P::zero();
  }
  // Adds the products of a chunk's first `groups` groups, and, for two panels, of the chunk behind it.
  [[gnu::always_inline]] void add_chunk(const uint8_t* chunk, int64_t groups, const TokenTile& tokens) {
    if constexpr (!kInOrder) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p)
        for (int64_t at = 0; at < Pack::kCodesAt; at += 64) fetch_ahead(chunk + p * Pack::kChunkBytes + at);
    }
    if constexpr (kPanels == 1) {
      const Header header[] = {Header(chunk)};
      add_groups(header, chunk, groups, tokens);
    } else {
      const Header header[] = {Header(chunk), Header(chunk + Pack::kChunkBytes)};
      add_groups(header, chunk, groups, tokens);
    }
  }

  // Adds those of one group.
  [[gnu::always_inline]] void add_one(const uint8_t* chunk, int64_t number, const int8_t* x, const TokenGroup* info) {
    const Header header[] = {Header(chunk)};
    add_group(header, chunk, number, x, info, sums);
  }

 private:
  static void copy(const Sums& from, Sums& to) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) to[p][t] = from[p][t];
  }

  [[gnu::always_inline]] void add_groups(const Header* header, const uint8_t* chunk, int64_t groups,
                                         const TokenTile& tokens) {
    Sums sum;  // in registers
    copy(sums, sum);
    const int8_t* x = tokens.codes;
    const TokenGroup* info = tokens.groups;
    for (int64_t i = 0; i < groups; ++i, x += kTokens * kGroupColumns, info += kTokens) {
      fetch(chunk + Pack::codes_of(i));
      add_group(header, chunk, i, x, info, sum);
    }
    copy(sum, sums);
  }

  static void fetch(const uint8_t* codes) {
    if constexpr (kInOrder) {
      lead_ahead(codes);
    } else {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
        for (int64_t at = 0; at < Pack::kCodeBytes; at += 64) fetch_ahead(codes + p * Pack::kChunkBytes + at);
    }
  }

  [[gnu::always_inline]] static void add_group(const Header* header, const uint8_t* chunk, int64_t number,
                                               const int8_t* x, const TokenGroup* info, Sums& accumulator) {
    const uint8_t *scales = chunk + Pack::scales_of(number), *codes = chunk + Pack::codes_of(number);
    constexpr int kSums = kHalves * kParts;
    P::I sum[kPanels][kTokens][kSums];
    typename Pack::Planes planes[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
        for (int i = 0; i < kSums; ++i)
          sum[p][t][i] = i < kHalves ? start_sum<Pack::kBias, kHalves>(info[t], i) : P::set_int(0);
      planes[p] = Pack::template load<kKept>(codes + p * Pack::kChunkBytes);
    }
    for_steps(
        [&](auto step) {
          constexpr int kSum = kHalves == 2 ? step / 4 : step % kParts;
          P::C c[kPanels];
#pragma GCC unroll 2
          for (int p = 0; p < kPanels; ++p) c[p] = Pack::template step<step>(planes[p]);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t)
            dot_panels<Pack::kSigned, kPanels>([&](int p) -> P::I& { return sum[p][t][kSum]; }, c,
                                               x + t * kGroupColumns + 4 * step);
        },
        kAllSteps);
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      P::V scale[kHalves], offset[kHalves];
      Scales::read(header[p], scales + p * Pack::kChunkBytes, scale, offset);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        if constexpr (kParts == 2) sum[p][t][0] = P::add(sum[p][t][0], sum[p][t][1]);
        accumulator[p][t] = add_products<kHalves>(accumulator[p][t], sum[p][t], scale, info[t]);
        if constexpr (Pack::F::kHasOffset) accumulator[p][t] = add_offsets<kHalves>(accumulator[p][t], offset, info[t]);
      }
    }
  }
};

template <class Pack, int kPanels, int kTokens, Way kWay>
[[gnu::always_inline]] inline void dot_bundle(const uint8_t* first, int64_t stride, int64_t groups,
                                              const TokenTile& tokens, const PanelOutput& out) {
  constexpr int kAtOnce = kWay == Way::kTogether ? kPanels : 1, kTurns = kPanels / kAtOnce;
  PackedDot<Pack, kAtOnce, kTokens, kWay> dots[kTurns], second_dots[kTurns];
#pragma GCC unroll 2
  for (auto& dot : dots) dot.clear();
  TokenTile at = tokens;
  const uint8_t* chunk = first;
  for (int64_t left = groups; left > 0; left -= Pack::kChunk, chunk += stride) {
    const int64_t count = left < Pack::kChunk ? left : Pack::kChunk;
#pragma GCC unroll 2
    for (int turn = 0; turn < kTurns; ++turn) dots[turn].add_chunk(chunk + turn * Pack::kChunkBytes, count, at);
    at.codes += Pack::kChunk * kTokens * kGroupColumns;
    at.groups += Pack::kChunk * kTokens;
  }
  if constexpr (kWay == Way::kInOrderWithSeconds) {
#pragma GCC unroll 2
    for (auto& dot : second_dots) dot.clear();
    const SecondCodes& seconds = tokens.seconds;
    for (int64_t part = 0; part < seconds.chunks; ++part)
      for (int32_t i = 0; i < seconds.listed[part]; ++i) {
        const int64_t group = seconds.groups[part * seconds.chunk + i];
        const uint8_t* of_group = first + group / Pack::kChunk * stride;
#pragma GCC unroll 2
        for (int turn = 0; turn < kTurns; ++turn)
          second_dots[turn].add_one(of_group + turn * Pack::kChunkBytes, group % Pack::kChunk,
                                    seconds.codes + group * kGroupColumns, seconds.scales + group);
      }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      P::V sum = dots[p / kAtOnce].sums[p % kAtOnce][t];
      if constexpr (kWay == Way::kInOrderWithSeconds) sum = sum_of(sum, second_dots[p / kAtOnce].sums[p % kAtOnce][t]);
      store_products(out, t, p, sum);
    }
}

template <class Pack, int kPanels, int kTokens, Way kWay = Way::kTogether>
void dot_packed(const PackedPanels& panels, int64_t groups, const TokenTile& tokens, const PanelOutput& out) {
  const TokenTile tile = tokens;
  each_bundle<kPanels, Pack::kChunk>(
      panels, groups,
      out, [&](const uint8_t* first, int64_t stride, const PanelOutput& to) __attribute__((always_inline)) {
        dot_bundle<Pack, kPanels, kTokens, kWay>(first, stride, groups, tile, to);
      });
}

// In order a thread reads memory as the processor's own prefetching foresees, if the lines of a group come in order
// too; a line in each group is enough to lead it over the end of a page, and all of them would be in its way. It costs
// instructions: a token's codes are loaded for each panel. So it pays for few tokens: two, or four of codes that need
// not be unpacked (AMD Zen 4, docs/decisions/integer-panels.md).
template <class Pack>
struct InOrder {
  static constexpr int kTokens = Pack::kLow == 8 ? 4 : 2;
  template <int kPanels, int kCount>
  static constexpr DotPacked kDot = &dot_packed<Pack, kPanels, kCount, Way::kInOrder>;
  template <int kPanels>
  static constexpr DotPacked kWithSeconds = &dot_packed<Pack, kPanels, 1, Way::kInOrderWithSeconds>;
};

// accumulator[p][t] + the products of a group. `multiples`: of its scales, those of the second panel so many floats on.
template <int kPanels, int kTokens, class Primitives = P>
[[gnu::always_inline]] inline void add_multiples(P::V (&accumulator)[kPanels][kTokens],
                                                 const P::I (&sum)[kPanels][kTokens][1], const float* multiples,
                                                 int64_t panel, const TokenGroup* info) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const float* scales = multiples + scale_step(info[t].scale) * P::kWidth;
    const P::V power = Primitives::power(info[t].scale);
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p)
      accumulator[p][t] = P::fma(Primitives::times_two_to(P::to_float(sum[p][t][0]), power),
                                 P::load(scales + p * panel), accumulator[p][t]);
  }
}

// accumulator[p][t] += the products of group g.
template <int kHalves, bool kOffset, int kPanels, int kTokens, bool kMultiples>
[[gnu::always_inline]] inline void add_unpacked(const UnpackedPanel& panels, int64_t panel_groups, int64_t g,
                                                const int8_t* x, const TokenGroup* info,
                                                P::V (&accumulator)[kPanels][kTokens]) {
  constexpr int64_t kGroupBytes = kGroupSteps * kLaneBytes, kGroupScales = kHalves * P::kWidth;
  constexpr int kSteps = kGroupSteps / kHalves;
  constexpr int kTogether = kHalves == 2 ? 1 : kPanels;  // panels whose sums the registers hold
#pragma GCC unroll 2
  for (int first = 0; first < kPanels; first += kTogether) {
    const uint8_t* codes = panels.codes + (first * panel_groups + g) * kGroupBytes;
    // Read anew for each panel: there are no registers to keep it in.
    if constexpr (kTogether < kPanels && !kOffset) asm("" : "+r"(info));
    P::I sum[kTogether][kTokens][kHalves];
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const P::I start = start_sum<kUnpackedBias, kHalves>(info[t], half);
#pragma GCC unroll 2
        for (int p = 0; p < kTogether; ++p) sum[p][t][half] = start;
      }
#pragma GCC unroll 8
      for (int i = 0; i < kSteps; ++i) {
        const int s = half * kSteps + i;
        P::C c[kTogether];
#pragma GCC unroll 2
        for (int p = 0; p < kTogether; ++p) c[p] = P::load(codes + p * panel_groups * kGroupBytes + s * kLaneBytes);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t)
          dot_panels<true, kTogether>([&](int p) -> P::I& { return sum[p][t][half]; }, c,
                                      x + t * kGroupColumns + 4 * s);
      }
    }
    if constexpr (kMultiples) {
      constexpr int64_t kGroupMultiples = kScaleSteps * P::kWidth;
      add_multiples(accumulator, sum, panels.multiples + g * kGroupMultiples, panel_groups * kGroupMultiples, info);
    }
#pragma GCC unroll 2
    for (int p = 0; p < kTogether; ++p) {
      const int64_t at = ((first + p) * panel_groups + g) * kGroupScales;
      P::V scale[kHalves], offset[kHalves];
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        if constexpr (!kMultiples) scale[half] = P::load(panels.scales + at + half * P::kWidth);
        if constexpr (kOffset) offset[half] = P::load(panels.offsets + at + half * P::kWidth);
      }
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        [[maybe_unused]] P::V& to = accumulator[first + p][t];
        if constexpr (!kMultiples) to = add_products<kHalves>(to, sum[p][t], scale, info[t]);
        if constexpr (kOffset) to = add_offsets<kHalves>(to, offset, info[t]);
      }
    }
  }
}

template <int kHalves, bool kOffset, int kPanels, int kTokens, bool kMultiples = false>
void dot_unpacked(const UnpackedPanel& panels, int64_t panel_groups, int64_t groups, const TokenTile& tokens,
                  const UnpackedSums& sums) {
  P::V accumulator[kPanels][kTokens];
  begin_sums(sums, tokens, accumulator);
  const int8_t* x = tokens.codes;
  const TokenGroup* info = tokens.groups;
  for (int64_t g = 0; g < groups; ++g, x += kTokens * kGroupColumns, info += kTokens)
    add_unpacked<kHalves, kOffset, kPanels, kTokens, kMultiples>(panels, panel_groups, g, x, info, accumulator);
  finish_sums(sums, tokens, accumulator);
}

// For dot_listed: sums += the products of group g.
template <int kHalves, bool kOffset, int kPanels, bool kMultiples>
struct GroupDots {
  static constexpr int kMostTokens = P::kTokens;
  template <int kTokens>
  [[gnu::always_inline]] static void add(const UnpackedPanel& panels, int64_t panel_groups, int64_t g,
                                         const TokenTile& tokens, float* sums) {
    P::V accumulator[kPanels][kTokens];
    begin_sums({sums}, tokens, accumulator);
    add_unpacked<kHalves, kOffset, kPanels, kTokens, kMultiples>(panels, panel_groups, g, tokens.codes, tokens.groups,
                                                                 accumulator);
    finish_sums({sums}, tokens, accumulator);
  }
};

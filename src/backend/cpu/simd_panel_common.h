// What the products of panels have in common: where sums start, and how scales and offsets come in. Included in the
// unnamed namespace of each folder's panels.cc, after simd_panel_codes.h.

// Panels are fetched kFetchAhead bytes ahead into the second-level cache. Into the first, AMD Zen 4 has fewer lines
// under way.
inline void fetch_ahead(const uint8_t* from) { __builtin_prefetch(from + kFetchAhead, 0, 2); }
// Where the processor fetches ahead itself: a line beyond the page that it has come to.
inline void lead_ahead(const uint8_t* from) { __builtin_prefetch(from + kLeadAhead, 0, 2); }

// The sum that the code products of a group (kHalves == 1) or of a half of it start from: kBias times less than nothing
// for each code.
template <int kBias, int kHalves>
inline P::I start_sum(const TokenGroup& x, int half) {
  if constexpr (kBias == 0) {
    return P::set_int(0);
  } else if constexpr (kHalves == 1) {
    return P::template share<kBias>(P::set_int(x.minus_sum));
  } else {
    const P::I first = P::set_int(x.minus_first);
    return P::template share<kBias>(half == 0 ? first : P::sub(P::set_int(x.minus_sum), first));
  }
}

template <class T, int... kStep>
inline void for_steps(const T& f, std::integer_sequence<int, kStep...>) {
  (f(std::integral_constant<int, kStep>()), ...);
}
constexpr std::make_integer_sequence<int, kGroupSteps> kAllSteps;

// Instruction sets that can multiply by powers of two beside their multiplications have P::times_two_to.
template <class Primitives>
concept HasMultiples = requires {
  &Primitives::times_two_to;
};

// accumulator + the products of a group, whose halves may have scales of their own
template <int kHalves>
inline P::V add_products(P::V accumulator, const P::I* sums, const P::V* scales, const TokenGroup& x) {
  if constexpr (kHalves == 1) return P::fma(P::to_float(sums[0]), P::mul(scales[0], P::set(x.scale)), accumulator);
  const P::V first = P::mul(P::to_float(sums[0]), scales[0]);
  return P::fma(P::fma(P::to_float(sums[1]), scales[1], first), P::set(x.scale), accumulator);
}

// accumulator + the offsets of a group
template <int kHalves>
inline P::V add_offsets(P::V accumulator, const P::V* offset, const TokenGroup& x) {
  if constexpr (kHalves == 1) return P::fma(offset[0], P::set(x.scaled_sum), accumulator);
  const float scale = x.scale * (1.0f / float(kLargestBias));
  const float first = scale * float(-x.minus_first), second = scale * float(x.minus_first - x.minus_sum);
  return P::fma(offset[1], P::set(second), P::fma(offset[0], P::set(first), accumulator));
}

inline P::V sum_of(P::V a, P::V b) { return P::fma(a, P::set(1.0f), b); }

// Of token t with panel p of a bundle.
inline void store_products(const PanelOutput& out, int t, int p, P::V products) {
  float* rows = out.rows + t * out.stride + p * P::kWidth;
  if (out.bias != nullptr) products = sum_of(products, P::load(out.bias + p * P::kWidth));
  if (out.accumulate) products = sum_of(products, P::load(rows));
  P::store(rows, products);
}

// dot(first, stride, out) for one bundle after the other. Where the next begins, and all else of it, is in registers.
// What lies in memory was pushed out of the nearest cache by the bundle, and waits for as long as what comes from far
// away, since that takes all places for lines under way: a bundle whose address has to be loaded comes 0.3 to 0.8 us
// late (AMD Zen 4).
template <int kPanels, int kChunk, class Dot>
[[gnu::always_inline]] inline void each_bundle(const PackedPanels& panels, int64_t groups, const PanelOutput& out,
                                               const Dot& dot) {
  const int64_t stride = panels.stride, bundle = (groups + kChunk - 1) / kChunk * stride;
  const uint8_t* first = panels.first;
  PanelOutput to = out;
  for (int64_t i = panels.bundles; i > 0; --i, first += bundle) {
    dot(first, stride, to);
    to.rows += kPanels * P::kWidth;
    if (to.bias != nullptr) to.bias += kPanels * P::kWidth;
  }
}

// The sums of unpacked panels that some tokens begin with, and what becomes of them.
template <int kPanels, int kTokens>
[[gnu::always_inline]] inline void begin_sums(const UnpackedSums& from, const TokenTile& tokens,
                                              P::V (&sums)[kPanels][kTokens]) {
  if (from.anew) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) sums[p][t] = P::zero();
  } else {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) sums[p][t] = P::load(from.sums + (tokens.rows[t] * kPanels + p) * P::kWidth);
  }
}
template <int kPanels, int kTokens>
[[gnu::always_inline]] inline void finish_sums(const UnpackedSums& to, const TokenTile& tokens,
                                               const P::V (&sums)[kPanels][kTokens]) {
  if (to.out == nullptr) {
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) P::store(to.sums + (tokens.rows[t] * kPanels + p) * P::kWidth, sums[p][t]);
    return;
  }
  const PanelOutput out = *to.out;
  const float* seconds = to.seconds;
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      P::V sum = sums[p][t];
      if (seconds != nullptr) sum = sum_of(sum, P::load(seconds + (t * kPanels + p) * P::kWidth));
      store_products(out, t, p, sum);
    }
}

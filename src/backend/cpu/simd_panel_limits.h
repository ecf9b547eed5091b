// What bounds every panel kernel, measured by limits.cc: dot products as fast as they are issued, and memory as fast as
// it is read. Included in the unnamed namespace of each folder's panels.cc.

// As many independent sums as hide the latency of a dot product and fit into the registers. Several dot products of
// each follow one load of the operands, so that neither loads nor what the compiler does between two rounds counts.
int64_t dot_peak(int64_t rounds) {
  constexpr int kPanels = 2, kTokens = 6, kRepeats = 8;
  alignas(64) uint8_t weights[kPanels * sizeof(P::C)];
  alignas(64) int8_t tokens[kTokens * 4];
  for (size_t i = 0; i < sizeof(weights); ++i) weights[i] = uint8_t(i % 16);
  for (size_t i = 0; i < sizeof(tokens); ++i) tokens[i] = int8_t(i % 7) - 3;
  P::I sum[kPanels][kTokens];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[p][t] = P::set_int(0);
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" ::"r"(weights), "r"(tokens) : "memory");  // they may be others in each round, for all that is known
    P::C c[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) c[p] = P::load(weights + size_t(p) * sizeof(P::C));
    P::T token[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) token[t] = P::load_token(tokens + 4 * t);
#pragma GCC unroll 8
    for (int i = 0; i < kRepeats; ++i)
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) sum[p][t] = P::template dot<true>(sum[p][t], c[p], token[t]);
  }
  alignas(64) float result[P::kWidth];
#pragma GCC unroll 2
  for (int p = 0; p < kPanels; ++p)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      P::store(result, P::to_float(sum[p][t]));
      asm volatile("" ::"r"(result) : "memory");
    }
  return rounds * kRepeats * kPanels * kTokens * P::kWidth * 4 * 2;
}

// In order, and only as fast as dot products that wait for each other: faster, loads wait in places that the
// processor's own prefetching needs (AMD Zen 4, two threads: 64 GB/s; without the dot products 30 to 56).
uint8_t read_all(const uint8_t* from, int64_t bytes) {
  constexpr int64_t kStep = 1024, kVector = sizeof(P::C);
  constexpr int kLoads = int(kStep / kVector), kSums = kVector < 64 ? int(64 / kVector) : 1;
  constexpr int8_t kOnes[4] = {1, 1, 1, 1};
  const P::T ones = P::load_token(kOnes);
  P::I sum[kSums];
#pragma GCC unroll 4
  for (int i = 0; i < kSums; ++i) sum[i] = P::set_int(0);
  for (int64_t at = 0; at < bytes; at += kStep) {
    lead_ahead(from + at);
#pragma GCC unroll 64
    for (int i = 0; i < kLoads; ++i)
      sum[i % kSums] = P::template dot<false>(sum[i % kSums], P::load(from + at + i * kVector), ones);
  }
  alignas(64) float result[P::kWidth];
  uint32_t any = 0;
  for (int i = 0; i < kSums; ++i) {
    P::store(result, P::to_float(sum[i]));
    for (const float lane : result) any |= lane != 0;
  }
  return uint8_t(any);
}

// The two inner loops of every product, over the primitives of one instruction set. Included in the unnamed namespace
// of each folder's kernels.cc, where Simd is defined.
//
// Floor: one fused multiply-add a lane; all accumulators stay in registers (4 x 6 of AVX-512's 32 registers, 4 x 3 of
// AVX2's 16), so that each loaded vector is used 3 to 6 times.

// Lane l of an element's accumulator sums columns l, l + width, ...; then one tree adds the lanes.
template <int kTokens>
void dot_tile(const float* rows, int64_t row_stride, const float* tokens, int64_t steps, float* sums,
              int64_t sum_stride) {
  Simd::V accumulator[kTileRows][kTokens];
#pragma GCC unroll 8
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) accumulator[r][t] = Simd::zero();
  for (int64_t step = 0; step < steps; ++step) {
    Simd::V token[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) token[t] = Simd::load(tokens + (step * kTokens + t) * Simd::kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const Simd::V row = Simd::load(rows + r * row_stride + step * Simd::kWidth);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) accumulator[r][t] = Simd::fma(row, token[t], accumulator[r][t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
    Simd::add_four_sums(sums + t * sum_stride, accumulator[0][t], accumulator[1][t], accumulator[2][t],
                        accumulator[3][t]);
}

template <int kRows, int kVectors>
void outer_tile(const OuterArguments& arguments) {
  const OuterArguments in = arguments;
  Simd::V accumulator[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) accumulator[r][v] = Simd::load(in.out + r * in.out_stride + v * Simd::kWidth);
  for (int64_t k = 0; k < in.count; ++k) {
    Simd::V b[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) b[v] = Simd::load(in.b + k * in.b_stride + v * Simd::kWidth);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Simd::V a = Simd::set(in.a[r * in.a_row + k * in.a_step]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) accumulator[r][v] = Simd::fma(a, b[v], accumulator[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) Simd::store(in.out + r * in.out_stride + v * Simd::kWidth, accumulator[r][v]);
}

template <int kRows>
void fill_outer(OuterTile (&table)[kMaxOuterVectors + 1]) {
  table[1] = outer_tile<kRows, 1>;
  if constexpr (Simd::kOuterVectors >= 2) table[2] = outer_tile<kRows, 2>;
  if constexpr (Simd::kOuterVectors >= 3) table[3] = outer_tile<kRows, 3>;
  if constexpr (Simd::kOuterVectors >= 4) table[4] = outer_tile<kRows, 4>;
}

void fill_tiles(Kernels& kernels) {
  kernels.width = Simd::kWidth;
  kernels.dot_tokens = Simd::kDotTokens;
  kernels.outer_vectors = Simd::kOuterVectors;
  kernels.dot[1] = dot_tile<1>;
  kernels.dot[2] = dot_tile<2>;
  kernels.dot[3] = dot_tile<3>;
  if constexpr (Simd::kDotTokens == 6) {
    kernels.dot[4] = dot_tile<4>;
    kernels.dot[5] = dot_tile<5>;
    kernels.dot[6] = dot_tile<6>;
  }
  fill_outer<1>(kernels.outer[1]);
  fill_outer<2>(kernels.outer[2]);
  fill_outer<3>(kernels.outer[3]);
  fill_outer<4>(kernels.outer[4]);
  fill_outer<5>(kernels.outer[5]);
  fill_outer<6>(kernels.outer[6]);
}

// Products of bfloat16, of BF16 weights with tokens and in attention: vdpbf16ps multiplies 32 pairs and sums two
// neighbours each.
//
// As in ../avx512/kernels.cc nothing here may be visible to the linker under a name that other files share.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "backend/cpu/kernels.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/avx512_sums.h"

constexpr int kStep = 32, kTokens = 6;
constexpr int kChunk = 2048;  // a tile of so many columns fits into the first-level cache

inline __mmask32 first_columns(int64_t count) {
  return count >= kStep ? ~__mmask32{0} : __mmask32((uint64_t{1} << count) - 1);
}

// Floor: few tokens: the bytes of the weights; many: a dot product for each vector of weights and token, beside which
// two loads hide.
template <int kCount>
void tile(const uint8_t* rows, int64_t row_stride, const void* tokens, int64_t columns, float* sums,
          int64_t sum_stride) {
  const auto* x = static_cast<const uint16_t*>(tokens);
  __m512 sum[kTileRows][kCount];
#pragma GCC unroll 4
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) sum[r][t] = _mm512_setzero_ps();
  for (int64_t i = 0; i < columns; i += kStep, x += kCount * kStep) {
    const __mmask32 mask = first_columns(columns - i);
    __m512i token[kCount];
#pragma GCC unroll 8
    for (int t = 0; t < kCount; ++t) token[t] = _mm512_loadu_si512(x + t * kStep);
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) {
      const uint8_t* at = rows + r * row_stride + 2 * i;
      __builtin_prefetch(at + kTileRows * row_stride, 0, 2);
      const __m512i row = _mm512_maskz_loadu_epi16(mask, at);
#pragma GCC unroll 8
      for (int t = 0; t < kCount; ++t)
        sum[r][t] = _mm512_dpbf16_ps(sum[r][t], reinterpret_cast<__m512bh>(row), reinterpret_cast<__m512bh>(token[t]));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kCount; ++t) add_four_sums(sums + t * sum_stride, sum[0][t], sum[1][t], sum[2][t], sum[3][t]);
}

inline __m256i rounded(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

inline __m512 first_floats(const float* x, int64_t count) {
  constexpr int64_t kHalf = 16;
  return _mm512_maskz_loadu_ps(count >= kHalf ? 0xffff : count <= 0 ? 0 : __mmask16((1u << count) - 1), x);
}

void split(const float* x, int64_t columns, int token, int tokens, uint16_t* first, uint16_t* rest) {
  constexpr int kHalf = 16;
  first += token * kStep;
  if (rest != nullptr) rest += token * kStep;
  for (int64_t i = 0; i < columns; i += kStep) {
    for (int64_t half = 0; half < kStep; half += kHalf) {
      const __m512 value = first_floats(x + i + half, columns - i - half);
      const __m256i high = rounded(value);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(first + half), high);
      if (rest == nullptr) continue;
      const __m512 of_high = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rest + half), rounded(_mm512_sub_ps(value, of_high)));
    }
    first += tokens * kStep;
    if (rest != nullptr) rest += tokens * kStep;
  }
}

void pair_columns(const float* x, int64_t columns, void* out) {
  auto* to = static_cast<uint16_t*>(out);
  for (int64_t i = 0; i < columns; i += kStep) {
    const __m512 low = first_floats(x + i, columns - i), high = first_floats(x + i + 16, columns - i - 16);
    _mm512_storeu_si512(to + i, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

void pair_rows(const float* rows, int64_t columns, int64_t pairs, void* out) {
  auto* to = static_cast<uint32_t*>(out);
  for (int64_t pair = 0; pair < pairs; ++pair, rows += 2 * columns)
    for (int64_t i = 0; i < columns; i += 16, to += 16) {
      const __m512i low = _mm512_cvtepu16_epi32(rounded(_mm512_loadu_ps(rows + i)));
      const __m512i high = _mm512_cvtepu16_epi32(rounded(_mm512_loadu_ps(rows + columns + i)));
      _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

// Floor: a dot product for each vector of b and row of a.
template <int kRows, int kVectors>
void pair_tile(const PairArguments& arguments) {
  const PairArguments in = arguments;
  const auto *a = static_cast<const int32_t*>(in.a), *b = static_cast<const int32_t*>(in.b);
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_loadu_ps(in.out + r * in.out_stride + v * 16);
  for (int64_t k = 0; k < in.pairs; ++k) {
    __m512i column[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) column[v] = _mm512_loadu_si512(b + k * in.b_stride + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512i row = _mm512_set1_epi32(a[r * in.a_row + k]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], reinterpret_cast<__m512bh>(row), reinterpret_cast<__m512bh>(column[v]));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(in.out + r * in.out_stride + v * 16, sum[r][v]);
}

template <int kRows>
void fill_pairs(BfloatKernels& kernels) {
  kernels.pair[kRows][1] = pair_tile<kRows, 1>;
  kernels.pair[kRows][2] = pair_tile<kRows, 2>;
  kernels.pair[kRows][3] = pair_tile<kRows, 3>;
  kernels.pair[kRows][4] = pair_tile<kRows, 4>;
  if constexpr (kRows > 1) fill_pairs<kRows - 1>(kernels);
}

BfloatKernels make_kernels() {
  BfloatKernels kernels = {};
  kernels.step = kStep;
  kernels.tokens = kTokens;
  kernels.chunk = kChunk;
  kernels.tiles = {{nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>}};
  kernels.split = split;
  fill_pairs<kOuterRows>(kernels);
  kernels.pair_columns = pair_columns;
  kernels.pair_rows = pair_rows;
  return kernels;
}

}  // namespace

const BfloatKernels& avx512bf16_kernels() {
  static const BfloatKernels kernels = make_kernels();
  return kernels;
}

}  // namespace metallic::cpu

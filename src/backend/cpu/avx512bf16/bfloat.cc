// Products of BF16 weights with tokens in bfloat16: vdpbf16ps multiplies 32 pairs and sums two neighbours each.
//
// As in ../avx512/kernels.cc nothing here may be visible to the linker under a name that other files share.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "backend/cpu/kernels.h"

#include <immintrin.h>

namespace metallic::cpu {
namespace {

constexpr int kStep = 32, kTokens = 6;
constexpr int kChunk = 2048;  // a tile of so many columns fits into the first-level cache

inline __mmask32 first_columns(int64_t count) {
  return count >= kStep ? ~__mmask32{0} : __mmask32((uint64_t{1} << count) - 1);
}

// to[i] += the sum of the lanes of the i-th vector
inline void add_four_sums(float* to, __m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 quarters = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), four));
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
  for (int t = 0; t < kCount; ++t)
    add_four_sums(sums + t * sum_stride, sum[0][t], sum[1][t], sum[2][t], sum[3][t]);
}

inline __m256i rounded(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }

void split(const float* x, int64_t columns, int token, int tokens, uint16_t* first, uint16_t* rest) {
  constexpr int kHalf = 16;
  first += token * kStep;
  if (rest != nullptr) rest += token * kStep;
  for (int64_t i = 0; i < columns; i += kStep) {
    for (int64_t half = 0; half < kStep; half += kHalf) {
      const int64_t left = columns - i - half;
      const __mmask16 mask = left >= kHalf ? 0xffff : left <= 0 ? 0 : __mmask16((1u << left) - 1);
      const __m512 value = _mm512_maskz_loadu_ps(mask, x + i + half);
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

}  // namespace

const BfloatKernels& avx512bf16_kernels() {
  static const BfloatKernels kernels = {
      kStep, kTokens, kChunk, {{nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>}}, split};
  return kernels;
}

}  // namespace metallic::cpu

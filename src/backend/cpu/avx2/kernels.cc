// The primitives for AVX2 with FMA and F16C: 8 floats a vector, 16 registers. As in ../avx512/kernels.cc, nothing here
// may be visible to the linker under a shared name.
#include "backend/cpu/kernels.h"

#include <immintrin.h>

namespace metallic::cpu {
namespace {

struct Simd {
  using V = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kDotTokens = 3;
  static constexpr int kOuterVectors = 2;

  static V zero() { return _mm256_setzero_ps(); }
  static V set(float x) { return _mm256_set1_ps(x); }
  static V load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* to, V x) { _mm256_storeu_ps(to, x); }
  static V add(V a, V b) { return _mm256_add_ps(a, b); }
  static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static V div(V a, V b) { return _mm256_div_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V min(V a, V b) { return _mm256_min_ps(a, b); }  // b if either is a NaN
  static V max(V a, V b) { return _mm256_max_ps(a, b); }  // b if either is a NaN
  static V round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static V keep_bits(V x, uint32_t mask) { return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(int(mask)))); }
  static V abs(V x) { return keep_bits(x, 0x7fffffffu); }
  static V select_less(V a, V b, V yes, V no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
  // 2^n for whole n from -126 to 127
  static V power_of_two(V n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  static __m128 low_plus_high(V x) { return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)); }
  static float reduce_add(V x) {
    const __m128 four = low_plus_high(x);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float reduce_max(V x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static void transpose(V (&x)[8]) {
    V y[8];
    for (int i = 0; i < 8; i += 4) {
      const V a = _mm256_unpacklo_ps(x[i], x[i + 1]), b = _mm256_unpackhi_ps(x[i], x[i + 1]);
      const V c = _mm256_unpacklo_ps(x[i + 2], x[i + 3]), d = _mm256_unpackhi_ps(x[i + 2], x[i + 3]);
      y[i] = _mm256_shuffle_ps(a, c, 0x44);
      y[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
      y[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
      y[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x20);
      x[i + 4] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x31);
    }
  }
  // to[i] += the sum of the lanes of the i-th vector
  static void add_four_sums(float* to, V a, V b, V c, V d) {
    const V ab = add(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const V cd = add(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m128 four = low_plus_high(add(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee)));
    _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), four));
  }

  static V load_half(const uint8_t* x) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))); }
  static void store_half(uint16_t* to, V x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static V load_bfloat16(const uint8_t* x) {
    const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
  }
};

#include "backend/cpu/simd_table.h"

}  // namespace

const Kernels& avx2_kernels() {
  static const Kernels kernels = make_kernels("avx2");
  return kernels;
}

}  // namespace metallic::cpu

// The primitives for AVX-512 (F, BW, DQ, VL) with F16C: 16 floats a vector, 32 registers.
//
// This file is compiled with these instruction sets on: nothing in it may be visible to the linker under a name that
// other files share, or their code could be replaced by this one's. So all is in an unnamed namespace and no inline
// function of a header is called; tools/check-isa looks.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own _mm512_undefined_ps sets these off.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "backend/cpu/kernels.h"

#include <immintrin.h>

namespace metallic::cpu {
namespace {

#include "backend/cpu/avx512_sums.h"

struct Simd {
  using V = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kDotTokens = 6;
  static constexpr int kOuterVectors = 4;

  static V zero() { return _mm512_setzero_ps(); }
  static V set(float x) { return _mm512_set1_ps(x); }
  static V load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* to, V x) { _mm512_storeu_ps(to, x); }
  static V add(V a, V b) { return _mm512_add_ps(a, b); }
  static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V div(V a, V b) { return _mm512_div_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V min(V a, V b) { return _mm512_min_ps(a, b); }  // b if either is a NaN
  static V max(V a, V b) { return _mm512_max_ps(a, b); }  // b if either is a NaN
  static V round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static V keep_bits(V x, uint32_t mask) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(int(mask))));
  }
  static V abs(V x) { return keep_bits(x, 0x7fffffffu); }
  static V select_less(V a, V b, V yes, V no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  }
  static V scale_by_power(V x, V n) { return _mm512_scalef_ps(x, n); }
  static float reduce_add(V x) {
    const __m256 half = low_plus_high(x);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float reduce_max(V x) { return _mm512_reduce_max_ps(x); }
  static void transpose(V (&x)[16]) {
    V y[16];
    for (int i = 0; i < 16; i += 2) {  // pairs of lanes
      y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
      y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {  // columns of four rows, one in each quarter
      x[i] = _mm512_shuffle_ps(y[i], y[i + 2], 0x44);
      x[i + 1] = _mm512_shuffle_ps(y[i], y[i + 2], 0xee);
      x[i + 2] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0x44);
      x[i + 3] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {  // the quarters of rows 0 to 7 and 8 to 15
      y[i] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88);
      y[i + 4] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
      y[i + 8] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
      y[i + 12] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm512_shuffle_f32x4(y[i], y[i + 8], 0x88);
      x[i + 8] = _mm512_shuffle_f32x4(y[i], y[i + 8], 0xdd);
      x[i + 4] = _mm512_shuffle_f32x4(y[i + 4], y[i + 12], 0x88);
      x[i + 12] = _mm512_shuffle_f32x4(y[i + 4], y[i + 12], 0xdd);
    }
  }
  static void add_four_sums(float* to, V a, V b, V c, V d) { ::metallic::cpu::add_four_sums(to, a, b, c, d); }

  // The first `count` numbers, the others `fill`.
  static V load_some(const float* x, int64_t count, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), __mmask16((1u << count) - 1), x);
  }
  static void store_some(float* to, int64_t count, V x) { _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1), x); }

  static V load_half(const uint8_t* x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static void store_half(uint16_t* to, V x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static V load_bfloat16(const uint8_t* x) {
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
  }
};

#include "backend/cpu/simd_table.h"

}  // namespace

const Kernels& avx512_kernels() {
  static const Kernels kernels = make_kernels("avx512");
  return kernels;
}

const Kernels& avx512_bfloat_kernels() {
  static const Kernels kernels = [] {
    Kernels table = make_kernels("avx512bf16");
    table.bfloat = &avx512bf16_kernels();
    return table;
  }();
  return kernels;
}

}  // namespace metallic::cpu

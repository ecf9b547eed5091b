// The primitives of dequantisation for AVX-512 (F, BW, DQ, VL): 16 floats a vector.
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own _mm512_undefined_ps sets these off.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "quant/dequantize_isa.h"
#include "quant/simd_dequantize.h"

namespace metallic::quant {
namespace {

struct Simd {
  using B = __m128i;  // 16 bytes
  using V = __m512;
  static constexpr int kWidth = 16;
  static constexpr bool kStreams = true;

  static __m128i load_16(const void* x) { return _mm_loadu_si128(static_cast<const __m128i*>(x)); }
  static __m256i load_32(const void* x) { return _mm256_loadu_si256(static_cast<const __m256i*>(x)); }

  static B load(const void* x) { return load_16(x); }
  static B fill(uint8_t byte) { return _mm_set1_epi8(char(byte)); }
  static B rows(uint64_t a, uint64_t b) { return _mm_set_epi64x(int64_t(b), int64_t(a)); }
  static B words(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return _mm_set_epi32(int(d), int(c), int(b), int(a));
  }
  static B low_halves(B a, B b) { return _mm_unpacklo_epi64(a, b); }
  static B high_halves(B a, B b) { return _mm_unpackhi_epi64(a, b); }
  static B bits_and(B a, B b) { return _mm_and_si128(a, b); }
  static B bits_or(B a, B b) { return _mm_or_si128(a, b); }
  static B add(B a, B b) { return _mm_add_epi8(a, b); }
  static B subtract(B a, B b) { return _mm_sub_epi8(a, b); }
  // Each byte shifted right (left if negative); bits that come from a neighbour must be masked off.
  template <int kBits>
  static B shift(B x) {
    return kBits < 0 ? _mm_slli_epi16(x, kBits < 0 ? -kBits : 0) : _mm_srli_epi16(x, kBits < 0 ? 0 : kBits);
  }
  static B look_up(B table, B indices) { return _mm_shuffle_epi8(table, indices); }
  // 0xff where the unsigned byte is at least `least`, else 0
  static B at_least(B x, uint8_t least) { return _mm_movm_epi8(_mm_cmpge_epu8_mask(x, fill(least))); }
  // 0xff in byte i if bit i is set, else 0
  static B expand(uint16_t bits) { return _mm_movm_epi8(bits); }
  // -x in byte i if bit i is set
  static B negate(B x, uint16_t bits) { return _mm_mask_sub_epi8(x, bits, _mm_setzero_si128(), x); }

  static float half(uint16_t bits) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))); }
  static float half(Half value) { return half(uint16_t(value.bits)); }

  static void store(float* to, V x) { _mm512_storeu_ps(to, x); }
  static void store(Float16* to, V x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static void store(BFloat16* to, V x) {
    const __m512i bits = _mm512_castps_si512(x), top = _mm512_srli_epi32(bits, 16);
    const __m512i half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), _mm512_and_si512(top, _mm512_set1_epi32(1)));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i words = _mm512_mask_or_epi32(rounded, nan, top, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(words));
  }
  static V floats(B codes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)); }
  // 16 signed codes times scale
  template <class T>
  static void store_scaled(B codes, float scale, T* out) {
    store(out, _mm512_mul_ps(floats(codes), _mm512_set1_ps(scale)));
  }
  // 16 signed codes times scale, plus offset
  template <class T>
  static void store_affine(B codes, float scale, float offset, T* out) {
    store(out, _mm512_add_ps(_mm512_mul_ps(floats(codes), _mm512_set1_ps(scale)), _mm512_set1_ps(offset)));
  }

  static V load_numbers(const F32::Block* x) { return _mm512_loadu_ps(x); }
  static V load_numbers(const F16::Block* x) { return _mm512_cvtph_ps(load_32(x)); }
  static V load_numbers(const BF16::Block* x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_32(x)), 16));
  }
  // A half with these bits is 2^-8 of the number; NaN alone comes out above 448.
  static V load_numbers(const F8_E4M3::Block* x) {
    const __m256i halves =
        _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(load_16(x)), 7), _mm256_set1_epi16(short(0xbf80)));
    const V numbers = _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(256.0f));
    const __mmask16 nan = _mm512_cmp_ps_mask(_mm512_abs_ps(numbers), _mm512_set1_ps(448.0f), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(numbers, nan, _mm512_set1_ps(__builtin_nanf("")));
  }
  static V load_numbers(const I8::Block* x) { return floats(load_16(x)); }
  static V load_numbers(const I16::Block* x) { return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(load_32(x))); }
  static V load_numbers(const I32::Block* x) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(x)); }
  static V join(__m256 low, __m256 high) { return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1); }
  static V load_numbers(const I64::Block* x) {
    return join(_mm512_cvtepi64_ps(_mm512_loadu_si512(x)), _mm512_cvtepi64_ps(_mm512_loadu_si512(x + 8)));
  }
  static V load_numbers(const F64::Block* x) {
    return join(_mm512_cvtpd_ps(_mm512_loadu_pd(x)), _mm512_cvtpd_ps(_mm512_loadu_pd(x + 8)));
  }

  // Copies an aligned chunk to any address, around the caches; finish_streaming orders it before what follows.
  static void stream(const void* chunk, int64_t bytes, void* out) {
    const auto* from = static_cast<const char*>(chunk);
    auto* to = static_cast<char*>(out);
    const int64_t head = int64_t(-reinterpret_cast<uintptr_t>(to) % 64);
    int64_t i = head < bytes ? head : bytes;
    __builtin_memcpy(to, from, size_t(i));
    for (; i + 64 <= bytes; i += 64)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
    __builtin_memcpy(to + i, from + i, size_t(bytes - i));
  }
  static void finish_streaming() { _mm_sfence(); }
};

}  // namespace

const Dequantizers kAvx512Dequantizers = {"avx512", SimdRows<Simd>::to_float, SimdRows<Simd>::to};

}  // namespace metallic::quant

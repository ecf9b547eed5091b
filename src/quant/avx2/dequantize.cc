// The primitives of dequantisation for AVX2 with F16C: 8 floats a vector.
#include <immintrin.h>

#include "quant/dequantize_isa.h"
#include "quant/simd_dequantize.h"

namespace metallic::quant {
namespace {

struct Simd {
  using B = __m128i;  // 16 bytes
  using V = __m256;
  static constexpr int kWidth = 8;
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
  static B at_least(B x, uint8_t least) { return _mm_cmpeq_epi8(_mm_max_epu8(x, fill(least)), x); }
  // 0xff in byte i if bit i is set, else 0
  static B expand(uint16_t bits) {
    const B select = _mm_set1_epi64x(int64_t(0x8040201008040201ull));
    const B bytes = _mm_shuffle_epi8(_mm_cvtsi32_si128(bits), _mm_set_epi64x(0x0101010101010101, 0));
    return _mm_cmpeq_epi8(_mm_and_si128(bytes, select), select);
  }
  // -x in byte i if bit i is set
  static B negate(B x, uint16_t bits) {
    const B mask = expand(bits);
    return _mm_sub_epi8(_mm_xor_si128(x, mask), mask);
  }

  static float half(uint16_t bits) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits))); }
  static float half(Half value) { return half(uint16_t(value.bits)); }

  static void store(float* to, V x) { _mm256_storeu_ps(to, x); }
  static void store(Float16* to, V x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }
  static void store(BFloat16* to, V x) {
    const __m256i bits = _mm256_castps_si256(x), top = _mm256_srli_epi32(bits, 16);
    const __m256i half = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), _mm256_and_si256(top, _mm256_set1_epi32(1)));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i words = _mm256_blendv_epi8(rounded, quiet, nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
  }
  static V floats(B codes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)); }
  // 16 signed codes times scale
  template <class T>
  static void store_scaled(B codes, float scale, T* out) {
    const V factor = _mm256_set1_ps(scale);
    store(out, _mm256_mul_ps(floats(codes), factor));
    store(out + 8, _mm256_mul_ps(floats(_mm_unpackhi_epi64(codes, codes)), factor));
  }
  // 16 signed codes times scale, plus offset
  template <class T>
  static void store_affine(B codes, float scale, float offset, T* out) {
    const V factor = _mm256_set1_ps(scale), term = _mm256_set1_ps(offset);
    store(out, _mm256_add_ps(_mm256_mul_ps(floats(codes), factor), term));
    store(out + 8, _mm256_add_ps(_mm256_mul_ps(floats(_mm_unpackhi_epi64(codes, codes)), factor), term));
  }

  static V load_numbers(const F32::Block* x) { return _mm256_castsi256_ps(load_32(x)); }
  static V load_numbers(const F16::Block* x) { return _mm256_cvtph_ps(load_16(x)); }
  static V load_numbers(const BF16::Block* x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(x)), 16));
  }
  // A half with these bits is 2^-8 of the number; NaN alone comes out above 448.
  static V load_numbers(const F8_E4M3::Block* x) {
    const __m128i words = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
    const __m128i halves = _mm_and_si128(_mm_slli_epi16(words, 7), _mm_set1_epi16(short(0xbf80)));
    const V numbers = _mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_set1_ps(256.0f));
    const V sizes = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), numbers);
    return _mm256_or_ps(numbers, _mm256_cmp_ps(sizes, _mm256_set1_ps(448.0f), _CMP_GT_OQ));
  }
  static V load_numbers(const I8::Block* x) { return floats(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))); }
  static V load_numbers(const I16::Block* x) { return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_16(x))); }
  static V load_numbers(const I32::Block* x) { return _mm256_cvtepi32_ps(load_32(x)); }
  static V load_numbers(const F64::Block* x) {
    const auto four = [&](int i) { return _mm256_cvtpd_ps(_mm256_castsi256_pd(load_32(x + i))); };
    return _mm256_set_m128(four(4), four(0));
  }

  // Copies an aligned chunk to any address, around the caches; finish_streaming orders it before what follows.
  static void stream(const void* chunk, int64_t bytes, void* out) {
    const auto* from = static_cast<const char*>(chunk);
    auto* to = static_cast<char*>(out);
    const int64_t head = int64_t(-reinterpret_cast<uintptr_t>(to) % 32);
    int64_t i = head < bytes ? head : bytes;
    __builtin_memcpy(to, from, size_t(i));
    for (; i + 32 <= bytes; i += 32) _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), load_32(from + i));
    __builtin_memcpy(to + i, from + i, size_t(bytes - i));
  }
  static void finish_streaming() { _mm_sfence(); }
};

}  // namespace

const Dequantizers kAvx2Dequantizers = {"avx2", SimdRows<Simd>::to_float, SimdRows<Simd>::to};

}  // namespace metallic::quant

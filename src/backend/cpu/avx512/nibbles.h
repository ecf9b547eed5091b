// Codes of 4 bits, and of 4 bits and a fifth elsewhere, as floats: the 16 possible weights of a group are in a
// register, and vpermps picks by the low four bits of each lane, so that low nibbles need not be masked. The same
// functions as
// ../simd_nibbles.h. Included in the unnamed namespace of kernels.cc.

using B = Simd::B;            // 16 bytes
using FifthBits = __mmask16;  // those that have it

inline FifthBits fifth_bits(uint16_t bits) { return bits; }
// Bit kBit of each byte.
template <int kBit>
inline FifthBits fifth_bits(B bytes) {
  return _mm_test_epi8_mask(bytes, _mm_set1_epi8(char(1 << kBit)));
}

// The weights of codes 0 to 15, and of 16 to 31.
struct Four {
  __m512 weights;
};
struct Five {
  __m512 low, high;
};

inline __m512 codes_from(int first) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_cvtepi32_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(first)));
}
inline __m512 affine_from(int first, float scale, float offset) {
  return Simd::fma(codes_from(first), Simd::set(scale), Simd::set(offset));
}
inline Four affine(float scale, float offset) { return {affine_from(0, scale, offset)}; }
inline Five affine_five(float scale, float offset) {
  return {affine_from(0, scale, offset), affine_from(16, scale, offset)};
}
inline Four biased(float scale) { return {Simd::mul(codes_from(-8), Simd::set(scale))}; }
inline Five biased_five(float scale) {
  return {Simd::mul(codes_from(-16), Simd::set(scale)), Simd::mul(codes_from(0), Simd::set(scale))};
}

inline __m512 look_up(const Four& table, __m512i index, FifthBits) {
  return _mm512_permutexvar_ps(index, table.weights);
}
inline __m512 look_up(const Five& table, __m512i index, FifthBits fifth) {
  return _mm512_mask_permutexvar_ps(_mm512_permutexvar_ps(index, table.low), fifth, index, table.high);
}

// The low or the high nibbles of 16 bytes, to 16 floats.
template <class Table>
inline void store_low(const Table& table, B bytes, FifthBits fifth, float* out) {
  Simd::store(out, look_up(table, _mm512_cvtepu8_epi32(bytes), fifth));
}
template <class Table>
inline void store_high(const Table& table, B bytes, FifthBits fifth, float* out) {
  Simd::store(out, look_up(table, _mm512_srli_epi32(_mm512_cvtepu8_epi32(bytes), 4), fifth));
}
inline void store_low(const Four& table, B bytes, float* out) { store_low(table, bytes, 0, out); }
inline void store_high(const Four& table, B bytes, float* out) { store_high(table, bytes, 0, out); }

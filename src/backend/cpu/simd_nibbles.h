// Codes of 4 bits, and of 4 bits and a fifth elsewhere, as floats: for instruction sets that convert them
// arithmetically. Included in the unnamed namespace of a folder's kernels.cc, where Simd is defined; AVX-512 looks them
// up instead.

using B = Simd::B;    // 16 bytes
using FifthBits = B;  // 16 in bytes 16 or 0

inline FifthBits fifth_bits(uint16_t bits) { return Simd::expand(bits, 16); }
// Bit kBit of each byte.
template <int kBit>
inline FifthBits fifth_bits(B bytes) {
  return Simd::bits_and(Simd::shift<kBit - 4>(bytes), 16);
}

// What turns a code into a weight: scale * code + offset, or scale * (code - kBias).
struct Affine {
  float scale, offset;
  void store(B codes, float* out) const { Simd::store_affine(codes, scale, offset, out); }
};
template <int kBias>
struct Biased {
  float scale;
  void store(B codes, float* out) const { Simd::store_scaled(Simd::subtract(codes, kBias), scale, out); }
};
inline Affine affine(float scale, float offset) { return {scale, offset}; }
inline Affine affine_five(float scale, float offset) { return {scale, offset}; }
inline Biased<8> biased(float scale) { return {scale}; }
inline Biased<16> biased_five(float scale) { return {scale}; }

// The low or the high nibbles of 16 bytes, to 16 floats.
template <class Weights>
inline void store_low(const Weights& weights, B bytes, float* out) {
  weights.store(Simd::bits_and(bytes, 15), out);
}
template <class Weights>
inline void store_high(const Weights& weights, B bytes, float* out) {
  weights.store(Simd::bits_and(Simd::shift<4>(bytes), 15), out);
}
template <class Weights>
inline void store_low(const Weights& weights, B bytes, FifthBits fifth, float* out) {
  weights.store(Simd::bits_or(Simd::bits_and(bytes, 15), fifth), out);
}
template <class Weights>
inline void store_high(const Weights& weights, B bytes, FifthBits fifth, float* out) {
  weights.store(Simd::bits_or(Simd::bits_and(Simd::shift<4>(bytes), 15), fifth), out);
}

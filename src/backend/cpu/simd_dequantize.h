// Rows of the most used weight formats as floats, over the primitives of one instruction set; bit for bit what the
// generic dequantisers of src/quant give. Included in the unnamed namespace of each folder's kernels.cc, where Simd is
// defined.
//
// A code has at most 8 bits, a scale at most 11 + 6: scale * code is exact in float32, so that a fused multiply-add
// rounds once, exactly as the product and the sum of the definition do.
//
// Blocks lie at any address; offsets of their fields are those of the structs in src/quant.

using B = Simd::B;  // 16 bytes

template <int kElements, int kBytes, void (*kBlock)(const uint8_t*, float*)>
void dequantize_row(const void* blocks, int64_t elements, float* out) {
  const auto* block = static_cast<const uint8_t*>(blocks);
  for (int64_t i = 0; i < elements; i += kElements, block += kBytes) kBlock(block, out + i);
}

inline B low_nibbles(B bytes) { return Simd::bits_and(bytes, 0x0f); }
inline B high_nibbles(B bytes) { return Simd::bits_and(Simd::template shift<4>(bytes), 0x0f); }

inline uint32_t load_word(const uint8_t* bytes) {
  uint32_t word;
  __builtin_memcpy(&word, bytes, sizeof(word));
  return word;
}

// scale f16, 16 bytes of codes: the low nibbles are the first 16 elements
inline void block_q4_0(const uint8_t* block, float* out) {
  const float scale = Simd::half(block);
  const B codes = Simd::load_bytes(block + 2);
  Simd::store_scaled(Simd::subtract(low_nibbles(codes), 8), scale, out);
  Simd::store_scaled(Simd::subtract(high_nibbles(codes), 8), scale, out + 16);
}

// scale and minimum f16, 16 bytes
inline void block_q4_1(const uint8_t* block, float* out) {
  const float scale = Simd::half(block), minimum = Simd::half(block + 2);
  const B codes = Simd::load_bytes(block + 4);
  Simd::store_affine(low_nibbles(codes), scale, minimum, out);
  Simd::store_affine(high_nibbles(codes), scale, minimum, out + 16);
}

// scale f16, 32 fifth bits, 16 bytes
inline void block_q5_0(const uint8_t* block, float* out) {
  const float scale = Simd::half(block);
  const uint32_t fifth = load_word(block + 2);
  const B codes = Simd::load_bytes(block + 6);
  const B low = Simd::bits_or(low_nibbles(codes), Simd::expand(uint16_t(fifth), 16));
  const B high = Simd::bits_or(high_nibbles(codes), Simd::expand(uint16_t(fifth >> 16), 16));
  Simd::store_scaled(Simd::subtract(low, 16), scale, out);
  Simd::store_scaled(Simd::subtract(high, 16), scale, out + 16);
}

// scale and minimum f16, 32 fifth bits, 16 bytes
inline void block_q5_1(const uint8_t* block, float* out) {
  const float scale = Simd::half(block), minimum = Simd::half(block + 2);
  const uint32_t fifth = load_word(block + 4);
  const B codes = Simd::load_bytes(block + 8);
  const B low = Simd::bits_or(low_nibbles(codes), Simd::expand(uint16_t(fifth), 16));
  const B high = Simd::bits_or(high_nibbles(codes), Simd::expand(uint16_t(fifth >> 16), 16));
  Simd::store_affine(low, scale, minimum, out);
  Simd::store_affine(high, scale, minimum, out + 16);
}

// scale f16, 32 signed bytes
inline void block_q8_0(const uint8_t* block, float* out) {
  const float scale = Simd::half(block);
  Simd::store_scaled(Simd::load_bytes(block + 2), scale, out);
  Simd::store_scaled(Simd::load_bytes(block + 18), scale, out + 16);
}

// The 12 bytes of Q4_K and Q5_K that hold eight 6-bit scales and eight 6-bit minima: bytes 0-3 and 4-7 hold the first
// four of each in their low 6 bits, and the top 2 bits of the last four, whose low 4 bits are the nibbles of bytes 8-11.
struct SixBits {
  uint8_t scales[8], minima[8];
};
inline SixBits unpack_six_bits(const uint8_t* bytes) {
  const uint32_t a = load_word(bytes), b = load_word(bytes + 4), c = load_word(bytes + 8);
  const uint32_t words[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u), b & 0x3f3f3f3fu,
                             ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u)};
  SixBits result;
  __builtin_memcpy(&result, words, sizeof(result));
  return result;
}

// scale and scale of the minima f16, 12 bytes of scales and minima, 128 bytes of codes: each 32 bytes hold a group of
// 32 in their low nibbles and the next group in the high ones
inline void block_q4_k(const uint8_t* block, float* out) {
  const float scale = Simd::half(block), minimum = Simd::half(block + 2);
  const SixBits groups = unpack_six_bits(block + 4);
  for (int g = 0; g < 8; g += 2, out += 64) {
    const uint8_t* codes = block + 16 + g * 16;
    const float low_scale = scale * float(groups.scales[g]), low_offset = -(minimum * float(groups.minima[g]));
    const float high_scale = scale * float(groups.scales[g + 1]);
    const float high_offset = -(minimum * float(groups.minima[g + 1]));
    for (int i = 0; i < 32; i += 16) {
      const B bytes = Simd::load_bytes(codes + i);
      Simd::store_affine(low_nibbles(bytes), low_scale, low_offset, out + i);
      Simd::store_affine(high_nibbles(bytes), high_scale, high_offset, out + 32 + i);
    }
  }
}

// Groups 2 * kPair and 2 * kPair + 1 of a block of Q5_K: the fifth bits of group g are the bits g of the 32 bytes `high`.
template <int kPair>
inline void pair_q5_k(const uint8_t* codes, const uint8_t* high, const SixBits& groups, float scale, float minimum,
                      float* out) {
  constexpr int g = 2 * kPair;
  const float low_scale = scale * float(groups.scales[g]), low_offset = -(minimum * float(groups.minima[g]));
  const float high_scale = scale * float(groups.scales[g + 1]);
  const float high_offset = -(minimum * float(groups.minima[g + 1]));
  for (int i = 0; i < 32; i += 16) {
    const B bytes = Simd::load_bytes(codes + i), fifth = Simd::load_bytes(high + i);
    const B low_fifth = Simd::bits_and(Simd::template shift<g - 4>(fifth), 0x10);
    const B high_fifth = Simd::bits_and(Simd::template shift<g - 3>(fifth), 0x10);
    Simd::store_affine(Simd::bits_or(low_nibbles(bytes), low_fifth), low_scale, low_offset, out + i);
    Simd::store_affine(Simd::bits_or(high_nibbles(bytes), high_fifth), high_scale, high_offset, out + 32 + i);
  }
}

// as Q4_K, with 32 bytes of fifth bits before the codes
inline void block_q5_k(const uint8_t* block, float* out) {
  const float scale = Simd::half(block), minimum = Simd::half(block + 2);
  const SixBits groups = unpack_six_bits(block + 4);
  pair_q5_k<0>(block + 48, block + 16, groups, scale, minimum, out);
  pair_q5_k<1>(block + 80, block + 16, groups, scale, minimum, out + 64);
  pair_q5_k<2>(block + 112, block + 16, groups, scale, minimum, out + 128);
  pair_q5_k<3>(block + 144, block + 16, groups, scale, minimum, out + 192);
}

// 16 codes of Q6_K: a nibble, two high bits from field kField of `high`, minus 32
template <int kField>
inline void store_q6_k(B nibbles, B high, float scale, float* out) {
  const B top = Simd::bits_and(Simd::template shift<2 * kField - 4>(high), 0x30);
  Simd::store_scaled(Simd::subtract(Simd::bits_or(nibbles, top), 32), scale, out);
}

// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales of 16 elements each, scale f16. Each half of
// 128 elements: 32 from the low nibbles of 32 bytes, 32 from those of the next, then both high nibbles.
inline void block_q6_k(const uint8_t* block, float* out) {
  const float scale = Simd::half(block + 208);
  for (int part = 0; part < 2; ++part, out += 128) {
    const uint8_t* codes = block + part * 64;
    const uint8_t* high = block + 128 + part * 32;
    const auto* scales = reinterpret_cast<const int8_t*>(block + 192 + part * 8);
    for (int i = 0; i < 2; ++i) {
      const B first = Simd::load_bytes(codes + i * 16), second = Simd::load_bytes(codes + 32 + i * 16);
      const B top = Simd::load_bytes(high + i * 16);
      float* to = out + i * 16;
      store_q6_k<0>(low_nibbles(first), top, scale * float(scales[i]), to);
      store_q6_k<1>(low_nibbles(second), top, scale * float(scales[i + 2]), to + 32);
      store_q6_k<2>(high_nibbles(first), top, scale * float(scales[i + 4]), to + 64);
      store_q6_k<3>(high_nibbles(second), top, scale * float(scales[i + 6]), to + 96);
    }
  }
}

template <Simd::V (*kLoad)(const uint16_t*)>
void dequantize_words(const void* words, int64_t elements, float* out) {
  const auto* bytes = static_cast<const uint8_t*>(words);
  int64_t i = 0;
  uint16_t in[Simd::kWidth] = {};
  for (; i + Simd::kWidth <= elements; i += Simd::kWidth)
    Simd::store(out + i, kLoad(reinterpret_cast<const uint16_t*>(bytes + 2 * i)));
  if (i == elements) return;
  float rest[Simd::kWidth];
  __builtin_memcpy(in, bytes + 2 * i, size_t(elements - i) * sizeof(uint16_t));
  Simd::store(rest, kLoad(in));
  for (int64_t l = 0; l < elements - i; ++l) out[i + l] = rest[l];
}

DequantizeRow dequantize_kernel(Format format) {
  switch (format) {
    case Format::kF16:
      return dequantize_words<Simd::load_half>;
    case Format::kBF16:
      return dequantize_words<Simd::load_bfloat16>;
    case Format::kQ4_0:
      return dequantize_row<32, 18, block_q4_0>;
    case Format::kQ4_1:
      return dequantize_row<32, 20, block_q4_1>;
    case Format::kQ5_0:
      return dequantize_row<32, 22, block_q5_0>;
    case Format::kQ5_1:
      return dequantize_row<32, 24, block_q5_1>;
    case Format::kQ8_0:
      return dequantize_row<32, 34, block_q8_0>;
    case Format::kQ4_K:
      return dequantize_row<256, 144, block_q4_k>;
    case Format::kQ5_K:
      return dequantize_row<256, 176, block_q5_k>;
    case Format::kQ6_K:
      return dequantize_row<256, 210, block_q6_k>;
    default:
      return nullptr;
  }
}

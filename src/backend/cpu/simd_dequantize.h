// Rows of the most used weight formats as floats, over the primitives of one instruction set; bit for bit what the
// generic dequantisers of src/quant give, whose headers say how each block is laid out. Included in the unnamed
// namespace of each folder's kernels.cc, where Simd and the functions of simd_nibbles.h are defined.
//
// A code has at most 8 bits, a scale at most 11 + 6: scale * code is exact in float32, so that a fused multiply-add
// rounds once, exactly as the product and the sum of the definition do.

// A format is decoded in parts of kBlock / kParts weights, after its scales: that keeps few registers busy.
template <class Format, void (*kBlock)(const typename Format::Block&, float*)>
struct InOnePart {
  using F = Format;
  static constexpr int kParts = 1;
  struct Scales {};
  static Scales scales(const typename F::Block&) { return {}; }
  template <int>
  static void part(const typename F::Block& block, const Scales&, float* out) {
    kBlock(block, out);
  }
};

// visit(integral constant of 0), visit(... of 1), ...
template <int... kPart, class Visit>
inline void for_each_part(std::integer_sequence<int, kPart...>, const Visit& visit) {
  (visit(std::integral_constant<int, kPart>()), ...);
}

template <class Decoder>
void dequantize_row(const void* blocks, int64_t elements, float* out) {
  using F = typename Decoder::F;
  constexpr int kStep = F::kBlock / Decoder::kParts;
  const auto* block = static_cast<const typename F::Block*>(blocks);
  for (int64_t i = 0; i < elements; i += F::kBlock, ++block) {
    const auto scales = Decoder::scales(*block);
    for_each_part(std::make_integer_sequence<int, Decoder::kParts>(),
                  [&](auto part) { Decoder::template part<part>(*block, scales, out + i + part * kStep); });
  }
}

inline float to_float(const quant::Half& half) { return Simd::half(half.bits.bytes); }

inline uint32_t load_word(const uint8_t* bytes) {
  uint32_t word;
  __builtin_memcpy(&word, bytes, sizeof(word));
  return word;
}

inline void block_q4_0(const quant::Q4_0::Block& block, float* out) {
  const auto weights = biased(to_float(block.scale));
  const B codes = Simd::load_bytes(block.codes);
  store_low(weights, codes, out);
  store_high(weights, codes, out + 16);
}

inline void block_q4_1(const quant::Q4_1::Block& block, float* out) {
  const auto weights = affine(to_float(block.scale), to_float(block.minimum));
  const B codes = Simd::load_bytes(block.codes);
  store_low(weights, codes, out);
  store_high(weights, codes, out + 16);
}

inline void block_q5_0(const quant::Q5_0::Block& block, float* out) {
  const auto weights = biased_five(to_float(block.scale));
  const uint32_t fifth = load_word(block.high_bits.bytes);
  const B codes = Simd::load_bytes(block.codes);
  store_low(weights, codes, fifth_bits(uint16_t(fifth)), out);
  store_high(weights, codes, fifth_bits(uint16_t(fifth >> 16)), out + 16);
}

inline void block_q5_1(const quant::Q5_1::Block& block, float* out) {
  const auto weights = affine_five(to_float(block.scale), to_float(block.minimum));
  const uint32_t fifth = load_word(block.high_bits.bytes);
  const B codes = Simd::load_bytes(block.codes);
  store_low(weights, codes, fifth_bits(uint16_t(fifth)), out);
  store_high(weights, codes, fifth_bits(uint16_t(fifth >> 16)), out + 16);
}

inline void block_q8_0(const quant::Q8_0::Block& block, float* out) {
  const float scale = to_float(block.scale);
  const auto* codes = reinterpret_cast<const uint8_t*>(block.codes);
  Simd::store_scaled(Simd::load_bytes(codes), scale, out);
  Simd::store_scaled(Simd::load_bytes(codes + 16), scale, out + 16);
}

// The scales and offsets of the eight groups of a block of Q4_K or Q5_K, all at once (quant/k_scales.h). Half of each
// array is of no use.
struct GroupScales {
  float scales[16], offsets[16];

  float scale(int group) const { return scales[group]; }
  float offset(int group) const { return offsets[8 + group]; }
};
inline GroupScales group_scales(const quant::Half& scale, const quant::Half& minimum, const uint8_t* bytes) {
  const uint32_t a = load_word(bytes), b = load_word(bytes + 4), c = load_word(bytes + 8);
  const uint32_t words[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u), b & 0x3f3f3f3fu,
                             ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u)};
  const B codes = Simd::load_bytes(reinterpret_cast<const uint8_t*>(words));
  GroupScales result;
  Simd::store_scaled(codes, to_float(scale), result.scales);
  Simd::store_scaled(codes, -to_float(minimum), result.offsets);
  return result;
}

// Two groups of 32 a part: the low nibbles of 32 bytes, and the high ones.
struct DecodeQ4_K {
  using F = quant::Q4_K;
  static constexpr int kParts = 4;
  using Scales = GroupScales;
  static GroupScales scales(const F::Block& block) { return group_scales(block.scale, block.minimum, block.scales); }
  template <int kPart>
  static void part(const F::Block& block, const GroupScales& groups, float* out) {
    constexpr int kGroup = 2 * kPart;
    const auto low = affine(groups.scale(kGroup), groups.offset(kGroup));
    const auto high = affine(groups.scale(kGroup + 1), groups.offset(kGroup + 1));
#pragma GCC unroll 2
    for (int i = 0; i < 32; i += 16) {
      const B codes = Simd::load_bytes(block.codes + 32 * kPart + i);
      store_low(low, codes, out + i);
      store_high(high, codes, out + 32 + i);
    }
  }
};

struct DecodeQ5_K {
  using F = quant::Q5_K;
  static constexpr int kParts = 4;
  using Scales = GroupScales;
  static GroupScales scales(const F::Block& block) { return group_scales(block.scale, block.minimum, block.scales); }
  template <int kPart>
  static void part(const F::Block& block, const GroupScales& groups, float* out) {
    constexpr int kGroup = 2 * kPart;
    const auto low = affine_five(groups.scale(kGroup), groups.offset(kGroup));
    const auto high = affine_five(groups.scale(kGroup + 1), groups.offset(kGroup + 1));
#pragma GCC unroll 2
    for (int i = 0; i < 32; i += 16) {
      const B codes = Simd::load_bytes(block.codes + 32 * kPart + i), fifth = Simd::load_bytes(block.high_bits + i);
      store_low(low, codes, fifth_bits<kGroup>(fifth), out + i);
      store_high(high, codes, fifth_bits<kGroup + 1>(fifth), out + 32 + i);
    }
  }
};

// Half a block a part. 16 codes are nibbles, with two bits from field kField of `high`, minus 32.
struct DecodeQ6_K {
  using F = quant::Q6_K;
  static constexpr int kParts = 2;
  struct Scales {
    float scale[16];
  };
  static Scales scales(const F::Block& block) {
    Scales result;
    Simd::store_scaled(Simd::load_bytes(reinterpret_cast<const uint8_t*>(block.scales)), to_float(block.scale),
                       result.scale);
    return result;
  }
  template <int kField>
  static void store(B nibbles, B high, float scale, float* out) {
    const B top = Simd::bits_and(Simd::shift<2 * kField - 4>(high), 0x30);
    Simd::store_scaled(Simd::subtract(Simd::bits_or(Simd::bits_and(nibbles, 15), top), 32), scale, out);
  }
  template <int kPart>
  static void part(const F::Block& block, const Scales& scales, float* out) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const uint8_t* low = block.low_bits + 64 * kPart + 16 * i;
      const float* scale = scales.scale + 8 * kPart + i;
      const B first = Simd::load_bytes(low), second = Simd::load_bytes(low + 32);
      const B top = Simd::load_bytes(block.high_bits + 32 * kPart + 16 * i);
      store<0>(first, top, scale[0], out + 16 * i);
      store<1>(second, top, scale[2], out + 16 * i + 32);
      store<2>(Simd::shift<4>(first), top, scale[4], out + 16 * i + 64);
      store<3>(Simd::shift<4>(second), top, scale[6], out + 16 * i + 96);
    }
  }
};

using DecodeQ4_0 = InOnePart<quant::Q4_0, block_q4_0>;
using DecodeQ4_1 = InOnePart<quant::Q4_1, block_q4_1>;
using DecodeQ5_0 = InOnePart<quant::Q5_0, block_q5_0>;
using DecodeQ5_1 = InOnePart<quant::Q5_1, block_q5_1>;
using DecodeQ8_0 = InOnePart<quant::Q8_0, block_q8_0>;

// The plain types: kLoad gives a vector of floats.
template <int kBytes, Simd::V (*kLoad)(const uint8_t*)>
void dequantize_numbers(const void* numbers, int64_t elements, float* out) {
  const auto* bytes = static_cast<const uint8_t*>(numbers);
  int64_t i = 0;
  for (; i + Simd::kWidth <= elements; i += Simd::kWidth) Simd::store(out + i, kLoad(bytes + kBytes * i));
  if (i == elements) return;
  uint8_t in[kBytes * Simd::kWidth] = {};
  float rest[Simd::kWidth];
  __builtin_memcpy(in, bytes + kBytes * i, size_t(elements - i) * kBytes);
  Simd::store(rest, kLoad(in));
  for (int64_t l = 0; l < elements - i; ++l) out[i + l] = rest[l];
}

inline Simd::V load_float(const uint8_t* bytes) { return Simd::load(reinterpret_cast<const float*>(bytes)); }

DequantizeRow dequantize_kernel(Format format) {
  switch (format) {
    case Format::kF32:
      return dequantize_numbers<4, load_float>;
    case Format::kF16:
      return dequantize_numbers<2, Simd::load_half>;
    case Format::kBF16:
      return dequantize_numbers<2, Simd::load_bfloat16>;
    case Format::kQ4_0:
      return dequantize_row<DecodeQ4_0>;
    case Format::kQ4_1:
      return dequantize_row<DecodeQ4_1>;
    case Format::kQ5_0:
      return dequantize_row<DecodeQ5_0>;
    case Format::kQ5_1:
      return dequantize_row<DecodeQ5_1>;
    case Format::kQ8_0:
      return dequantize_row<DecodeQ8_0>;
    case Format::kQ4_K:
      return dequantize_row<DecodeQ4_K>;
    case Format::kQ5_K:
      return dequantize_row<DecodeQ5_K>;
    case Format::kQ6_K:
      return dequantize_row<DecodeQ6_K>;
    default:
      return nullptr;
  }
}

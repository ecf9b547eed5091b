// How each format lies in a panel: chunk after chunk of a few groups, first their scales, then their codes in planes of
// bits. So a panel is read from its first byte to its last. Included in the unnamed namespace of each folder's
// panels.cc, after the primitives (struct P).
//
// A plane of b bits has b vectors for a group of 32 columns: step s (columns 4 s to 4 s + 3) is in vector s % b, at bit
// b * (s / b) of its bytes. For b = 4 that is how the 32-weight formats lie in a file, four bytes at a time.

constexpr int kLaneBytes = 4 * P::kWidth;  // of a vector

// What an unpacked panel's codes are larger by than the format's: as it suits the kernels that multiply it.
template <class Primitives>
constexpr int unpacked_bias() {
  if constexpr (requires { Primitives::kUnpackedBias; })
    return Primitives::kUnpackedBias;
  else
    return Primitives::kSignedBias;
}
constexpr int kUnpackedBias = unpacked_bias<P>();

constexpr int power_of_two_from(int x) {
  int power = 1;
  while (power < x) power *= 2;
  return power;
}

// ---- the file's scales
template <class Block>
inline auto half_scale(const Block& block) {
  return block.scale;
}
inline uint16_t half_scale(const quant::IQ1_M::Block& block) {  // a nibble on top of each of four words
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= uint32_t(block.scales[i] >> 12) << (4 * i);
  return uint16_t(bits);
}
// Half of an unsigned E4M3 number as a float16, as quant::NVFP4::half_e4m3.
inline uint16_t half_scale(const quant::NVFP4::Block& block, int i) {
  constexpr uint16_t kSubnormal[8] = {0, 0x1400, 0x1800, 0x1a00, 0x1c00, 0x1d00, 0x1e00, 0x1f00};  // m / 1024
  const int exponent = block.scales[i] >> 3 & 15, mantissa = block.scales[i] & 7;
  if (block.scales[i] == 0x7f) return 0;
  return exponent == 0 ? kSubnormal[mantissa] : uint16_t((exponent + 7) << 10 | mantissa << 7);
}

// ---- scales: how many groups share a header of how many bytes, and how a group's scales are read
struct NoHeader {
  explicit NoHeader(const uint8_t*) {}
};
template <int kDivisor>  // a power of two
struct ScaleHeader {
  P::V scale;
  explicit ScaleHeader(const uint8_t* header) : scale(P::load_half(header)) {
    if constexpr (kDivisor != 1) scale = P::mul(scale, P::set(1.0f / kDivisor));
  }
};
struct ScaleMinimumHeader {
  P::V scale, minus_minimum;
  explicit ScaleMinimumHeader(const uint8_t* header)
      : scale(P::load_half(header)), minus_minimum(P::negate(P::load_half(header + 2 * P::kWidth))) {}
};

struct HalfScales {  // a float16 for each group
  using Header = NoHeader;
  static constexpr int kSuper = 1, kHeader = 0, kBytes = 2 * P::kWidth, kHalves = 1;
  static void read(const Header&, const uint8_t* group, P::V* scale, P::V*) { scale[0] = P::load_half(group); }
  template <class Block>
  static void pack(const Block& block, int, int row, uint8_t*, uint8_t* group) {
    __builtin_memcpy(group + 2 * row, &block.scale, 2);
  }
};
struct TwoHalfScales {  // a float16 for 16 columns
  using Header = NoHeader;
  static constexpr int kSuper = 1, kHeader = 0, kBytes = 4 * P::kWidth, kHalves = 2;
  static void read(const Header&, const uint8_t* group, P::V* scale, P::V*) {
    for (int half = 0; half < 2; ++half) scale[half] = P::load_half(group + half * 2 * P::kWidth);
  }
  template <class Block>
  static void pack(const Block& block, int group_of_block, int row, uint8_t*, uint8_t* group) {
    for (int half = 0; half < 2; ++half) {
      const uint16_t scale = half_scale(block, 2 * group_of_block + half);
      __builtin_memcpy(group + 2 * (half * P::kWidth + row), &scale, 2);
    }
  }
};
struct HalfPairs {  // scale and minimum
  using Header = NoHeader;
  static constexpr int kSuper = 1, kHeader = 0, kBytes = 4 * P::kWidth, kHalves = 1;
  static void read(const Header&, const uint8_t* group, P::V* scale, P::V* offset) {
    scale[0] = P::load_half(group);
    offset[0] = P::load_half(group + 2 * P::kWidth);
  }
  template <class Block>
  static void pack(const Block& block, int, int row, uint8_t*, uint8_t* group) {
    __builtin_memcpy(group + 2 * row, &block.scale, 2);
    __builtin_memcpy(group + 2 * (P::kWidth + row), &block.minimum, 2);
  }
};
struct SuperPairs {  // scale * s and -minimum * m, s and m of a byte each
  using Header = ScaleMinimumHeader;
  static constexpr int kSuper = 8, kHeader = 4 * P::kWidth, kBytes = 2 * P::kWidth, kHalves = 1;
  static void read(const Header& header, const uint8_t* group, P::V* scale, P::V* offset) {
    scale[0] = P::mul(header.scale, P::load_u8(group));
    offset[0] = P::mul(header.minus_minimum, P::load_u8(group + P::kWidth));
  }
  template <class Block>
  static void pack(const Block& block, int group_of_block, int row, uint8_t* header, uint8_t* group) {
    __builtin_memcpy(header + 2 * row, &block.scale, 2);
    __builtin_memcpy(header + 2 * (P::kWidth + row), &block.minimum, 2);
    group[row] = uint8_t(quant::k_scale(block.scales, group_of_block));
    group[P::kWidth + row] = uint8_t(quant::k_minimum(block.scales, group_of_block));
  }
};
struct SuperNibbles {  // the same for 16 columns, s and m of four bits
  using Header = ScaleMinimumHeader;
  static constexpr int kSuper = 8, kHeader = 4 * P::kWidth, kBytes = 2 * P::kWidth, kHalves = 2;
  static void read(const Header& header, const uint8_t* group, P::V* scale, P::V* offset) {
    for (int half = 0; half < 2; ++half) {
      scale[half] = P::mul(header.scale, P::load_low_nibbles(group + half * P::kWidth));
      offset[half] = P::mul(header.minus_minimum, P::load_high_nibbles(group + half * P::kWidth));
    }
  }
  template <class Block>
  static void pack(const Block& block, int group_of_block, int row, uint8_t* header, uint8_t* group) {
    __builtin_memcpy(header + 2 * row, &block.scale, 2);
    __builtin_memcpy(header + 2 * (P::kWidth + row), &block.minimum, 2);
    for (int half = 0; half < 2; ++half) group[half * P::kWidth + row] = block.scales[2 * group_of_block + half];
  }
};
// scale / kDivisor * s, s of a signed byte for 32 / kParts columns. kSmall(block, i) is the i-th s.
template <int kParts, auto kSmall, int kDivisor = 1>
struct SuperBytes {
  using Header = ScaleHeader<kDivisor>;
  static constexpr int kSuper = 8, kHeader = 2 * P::kWidth, kBytes = kParts * P::kWidth, kHalves = kParts;
  static void read(const Header& header, const uint8_t* group, P::V* scale, P::V*) {
    for (int half = 0; half < kParts; ++half) scale[half] = P::mul(header.scale, P::load_i8(group + half * P::kWidth));
  }
  template <class Block>
  static void pack(const Block& block, int group_of_block, int row, uint8_t* header, uint8_t* group) {
    const auto scale = half_scale(block);
    __builtin_memcpy(header + 2 * row, &scale, 2);
    for (int half = 0; half < kParts; ++half)
      group[half * P::kWidth + row] = uint8_t(kSmall(block, kParts * group_of_block + half));
  }
};
template <int kGroups>
struct SuperHalf {  // a float16 for so many groups
  using Header = ScaleHeader<1>;
  static constexpr int kSuper = kGroups, kHeader = 2 * P::kWidth, kBytes = 0, kHalves = 1;
  static void read(const Header& header, const uint8_t*, P::V* scale, P::V*) { scale[0] = header.scale; }
  template <class Block>
  static void pack(const Block& block, int, int row, uint8_t* header, uint8_t*) {
    __builtin_memcpy(header + 2 * row, &block.scale, 2);
  }
};
struct Exponents {  // MXFP4's powers of two
  using Header = NoHeader;
  static constexpr int kSuper = 1, kHeader = 0, kBytes = P::kWidth, kHalves = 1;
  static void read(const Header&, const uint8_t* group, P::V* scale, P::V*) { scale[0] = P::load_exponents(group); }
  template <class Block>
  static void pack(const Block& block, int, int row, uint8_t*, uint8_t* group) {
    group[row] = block.exponent;
  }
};

inline int q6_small(const quant::Q6_K::Block& block, int i) { return block.scales[i]; }
inline int q3_small(const quant::Q3_K::Block& block, int i) {
  const int low = block.scales[i % 8] >> (i / 8 * 4) & 15, top = block.scales[8 + i % 4] >> (i / 4 * 2) & 3;
  return (low | top << 4) - 32;
}
template <class Block>
inline int odd_nibble(const Block& block, int i) {
  return 2 * quant::nibble(block.scales, i) + 1;
}
inline int iq2_xxs_small(const quant::IQ2_XXS::Block& block, int i) {
  return 2 * int(block.groups[i].signs_and_scale >> 28) + 1;
}
inline int iq3_xxs_small(const quant::IQ3_XXS::Block& block, int i) {
  return 2 * int(block.signs_and_scale[i] >> 28) + 1;
}
inline int iq1_s_small(const quant::IQ1_S::Block& block, int i) { return 2 * (block.groups[i] >> 12 & 7) + 1; }
inline int iq1_m_small(const quant::IQ1_M::Block& block, int i) {
  return 2 * (block.scales[i / 4] >> (i % 4 * 3) & 7) + 1;
}
inline int iq4_xs_small(const quant::IQ4_XS::Block& block, int i) {
  return (quant::nibble(block.scales_low, i) | (block.scales_high >> (2 * i) & 3) << 4) - 32;
}

// ---- codes
struct NoTable {
  static constexpr bool kUsed = false;
  static constexpr int8_t value(int) { return 0; }
};
struct IQ4Table {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) { return quant::kIQ4Values[i]; }
};
struct E2M1Table {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) { return quant::kE2M1Doubled[i]; }
};

struct SignTable {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) { return i % 2 == 0 ? -1 : 1; }
};
// Entries of the codebooks, with their sign on top (quant/codebook.h).
struct IQ2Table {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) {
    const int entry = i & 3;
    return quant::with_sign(8 + 17 * entry + (entry >> 1), i >> 2 & 1);
  }
};
struct IQ3XxsTable {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) {
    const int entry = i & 7;
    return quant::with_sign(4 + 8 * entry + (entry == 7 ? 2 : 0), i >> 3);
  }
};
struct IQ3STable {
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) { return quant::with_sign(1 + 2 * (i & 7), i >> 3); }
};
struct IQ1Table {  // 0, 1 and 3 stand for 0, 8 and -8; bit 2 shifts them down, not up
  static constexpr bool kUsed = true;
  static constexpr int8_t value(int i) { return int8_t(8 * ((i & 1) - (i & 2)) + ((i & 4) != 0 ? -1 : 1)); }
};

template <class Table>
struct TableBytes {
  alignas(64) int8_t biased[16];  // as the kernels take them
  uint8_t index[256];             // of a value, as a byte

  constexpr TableBytes() : biased(), index() {
    for (int i = 15; i >= 0; --i) {
      biased[i] = int8_t(uint8_t(Table::value(i)) + P::kSignedBias);
      index[uint8_t(Table::value(i))] = uint8_t(i);
    }
  }
};

// A vector of codes. Kept, it is loaded once and in its turn, where the compiler would let each step load its own:
// those that wait for memory hold places of which a processor has so many, and it foresees only addresses that come in
// order (AMD Zen 4, two threads: Q6_K 38 GB/s or 55).
template <class Primitives>
concept KeepsInRegisters = requires {
  &Primitives::keep;
};

template <bool kKept, class Primitives = P>
inline P::C load_codes(const uint8_t* codes) {
  if constexpr (kKept && KeepsInRegisters<Primitives>)
    return Primitives::keep(P::load(codes));
  else
    return P::load(codes);
}

// Format F_ with codes of kLow_ + kHigh_ bits in two planes.
template <class F_, int kLow_, int kHigh_, class Scales_, class Table_ = NoTable>
struct Packed {
  using F = F_;
  using Scales = Scales_;
  using Table = Table_;
  static constexpr int kLow = kLow_, kHigh = kHigh_;
  static constexpr int kBlockGroups = F::kBlock / kGroupColumns;
  static constexpr int64_t kCodeBytes = kLaneBytes * (kLow + kHigh);  // of a group
  static constexpr bool kSigned = kLow == 8 || Table::kUsed;          // codes need all eight bits
  // What the kernels' codes are larger by than the format's.
  static constexpr int kBias = kSigned ? P::kSignedBias : power_of_two_from(-F::kCodeMin) * (F::kCodeMin < 0);
  static constexpr TableBytes<Table> kTable = {};

  // A chunk has as many groups as share a header, or as fill whole cache lines with scales; the codes begin with a line
  // too, unless that would cost more than a file's bytes and 4 %.
  static constexpr int64_t kLine = kLaneBytes < 64 ? kLaneBytes : 64;
  static constexpr int kChunk = Scales::kSuper > 1 || Scales::kBytes >= kLine ? Scales::kSuper
                                                                              : int(kLine / Scales::kBytes);
  static constexpr int64_t kScaleBytes = Scales::kHeader + kChunk * Scales::kBytes;
  static constexpr int64_t kWholeLines = (kScaleBytes + kLine - 1) / kLine * kLine;
  static constexpr int64_t kFileBytes = int64_t(sizeof(typename F::Block)) * P::kWidth * kChunk / kBlockGroups;
  static constexpr int64_t kCodesAt =
      (kWholeLines + kChunk * kCodeBytes) * 100 <= 104 * kFileBytes ? kWholeLines : kScaleBytes;
  static constexpr int64_t kChunkBytes = kCodesAt + kChunk * kCodeBytes;

  // Where a group is in its chunk.
  static int64_t scales_of(int64_t group) { return Scales::kHeader + group % kChunk * Scales::kBytes; }
  static int64_t codes_of(int64_t group) { return kCodesAt + group % kChunk * kCodeBytes; }

  struct Planes {
    P::C low[kLow];
    P::C high[kHigh == 0 ? 1 : kHigh];
    P::C table;
  };
  template <bool kKept = false>
  static Planes load(const uint8_t* codes) {
    Planes planes;
#pragma GCC unroll 8
    for (int i = 0; i < kLow; ++i) planes.low[i] = load_codes<kKept>(codes + i * kLaneBytes);
#pragma GCC unroll 8
    for (int i = 0; i < kHigh; ++i) planes.high[i] = load_codes<kKept>(codes + (kLow + i) * kLaneBytes);
    if constexpr (Table::kUsed) planes.table = P::load_table(kTable.biased);
    return planes;
  }
  // The codes of step kStep, with their bias.
  template <int kStep>
  static P::C step(const Planes& planes) {
    constexpr int kMask = (1 << kLow) - 1;
    P::C codes = planes.low[kStep % kLow];
    if constexpr (kLow < 8) codes = P::template bits<kLow*(kStep / kLow), kMask>(codes);
    if constexpr (kHigh > 0)
      codes = P::bits_or(codes, P::template bits<kHigh*(kStep / kHigh) - kLow, ((1 << kHigh) - 1) << kLow>(
                                    planes.high[kStep % kHigh]));
    if constexpr (Table::kUsed) codes = P::look_up(planes.table, codes);
    return codes;
  }
  // A format's code as its planes hold it.
  static uint8_t stored(int8_t code) {
    return Table::kUsed ? kTable.index[uint8_t(code)] : uint8_t(uint8_t(code) + kBias);
  }
};

using PackedQ4_0 = Packed<quant::Q4_0, 4, 0, HalfScales>;
using PackedQ4_1 = Packed<quant::Q4_1, 4, 0, HalfPairs>;
using PackedQ5_0 = Packed<quant::Q5_0, 4, 1, HalfScales>;
using PackedQ5_1 = Packed<quant::Q5_1, 4, 1, HalfPairs>;
using PackedQ8_0 = Packed<quant::Q8_0, 8, 0, HalfScales>;
using PackedQ2_K = Packed<quant::Q2_K, 2, 0, SuperNibbles>;
using PackedQ3_K = Packed<quant::Q3_K, 2, 1, SuperBytes<2, q3_small>>;
using PackedQ4_K = Packed<quant::Q4_K, 4, 0, SuperPairs>;
using PackedQ5_K = Packed<quant::Q5_K, 4, 1, SuperPairs>;
using PackedQ6_K = Packed<quant::Q6_K, 4, 2, SuperBytes<2, q6_small>>;
using PackedIQ4_NL = Packed<quant::IQ4_NL, 4, 0, HalfScales, IQ4Table>;
using PackedIQ4_XS = Packed<quant::IQ4_XS, 4, 0, SuperBytes<1, iq4_xs_small>, IQ4Table>;
using PackedMXFP4 = Packed<quant::MXFP4, 4, 0, Exponents, E2M1Table>;
using PackedNVFP4 = Packed<quant::NVFP4, 4, 0, TwoHalfScales, E2M1Table>;
using PackedTQ1_0 = Packed<quant::TQ1_0, 2, 0, SuperHalf<8>>;
using PackedTQ2_0 = Packed<quant::TQ2_0, 2, 0, SuperHalf<8>>;
using PackedQ1_0 = Packed<quant::Q1_0, 1, 0, SuperHalf<4>, SignTable>;
using PackedIQ1_S = Packed<quant::IQ1_S, 2, 1, SuperBytes<1, iq1_s_small, 8>, IQ1Table>;
using PackedIQ1_M = Packed<quant::IQ1_M, 2, 1, SuperBytes<2, iq1_m_small, 8>, IQ1Table>;
using PackedIQ2_XXS = Packed<quant::IQ2_XXS, 2, 1, SuperBytes<1, iq2_xxs_small, 8>, IQ2Table>;
using PackedIQ2_XS = Packed<quant::IQ2_XS, 2, 1, SuperBytes<2, odd_nibble<quant::IQ2_XS::Block>, 8>, IQ2Table>;
using PackedIQ2_S = Packed<quant::IQ2_S, 2, 1, SuperBytes<2, odd_nibble<quant::IQ2_S::Block>, 8>, IQ2Table>;
using PackedIQ3_XXS = Packed<quant::IQ3_XXS, 4, 0, SuperBytes<1, iq3_xxs_small, 4>, IQ3XxsTable>;
using PackedIQ3_S = Packed<quant::IQ3_S, 4, 0, SuperBytes<1, odd_nibble<quant::IQ3_S::Block>>, IQ3STable>;

// From the rows of a file to packed panels, and from floats to tokens; the table of all kernels. Included in the
// unnamed namespace of each folder's panels.cc, after simd_panel_limits.h.

// Sets what a panel holds of rows that do not exist: codes and scales of zero.
inline void clear(uint8_t* bytes, int64_t count) { __builtin_memset(bytes, 0, size_t(count)); }

// Bits [kShift, kShift + kBits) of a row's 32 codes as a plane of 4 * kBits bytes, of which byte k has code k,
// 4 kBits + k, ... at rising bits.
template <int kBits, int kShift>
inline void make_plane(const uint64_t* words, uint8_t* plane) {
  using Unit = std::conditional_t<kBits == 1, uint32_t, uint64_t>;
  constexpr int kUnits = 4 * kBits / int(sizeof(Unit));
  constexpr Unit kMask = Unit(0x0101010101010101) * ((1 << kBits) - 1);
  Unit codes[kGroupColumns / sizeof(Unit)], bits[kUnits] = {};
  __builtin_memcpy(codes, words, sizeof(codes));
#pragma GCC unroll 8
  for (int m = 0; m < 8 / kBits; ++m)
#pragma GCC unroll 2
    for (int u = 0; u < kUnits; ++u) bits[u] |= (codes[m * kUnits + u] >> kShift & kMask) << (kBits * m);
  __builtin_memcpy(plane, bits, sizeof(bits));
}

// Planes of all rows, one row after the other, to where the kernels want them: four bytes of each row side by side.
// Instruction sets that can turn 16 bytes of every row at once have P::interleave.
template <class Primitives>
concept Interleaves = requires {
  &Primitives::interleave;
};

template <int kBits, class Primitives = P>
inline void spread_planes(const uint8_t* rows, uint8_t* planes) {
  if constexpr (Interleaves<Primitives> && kBits % 4 == 0) {
#pragma GCC unroll 2
    for (int i = 0; i < kBits; i += 4) Primitives::interleave(rows + 4 * i, 4 * kBits, planes + i * kLaneBytes);
  } else {
    for (int row = 0; row < P::kWidth; ++row)
#pragma GCC unroll 8
      for (int i = 0; i < kBits; ++i)
        __builtin_memcpy(planes + i * kLaneBytes + 4 * row, rows + 4 * (kBits * row + i), 4);
  }
}

// Bits 0, 4, ... 28 of x, side by side.
inline uint32_t every_fourth_bit(uint32_t x) {
  x &= 0x11111111;
  x = (x | x >> 3) & 0x03030303;
  x = (x | x >> 6) & 0x000f000f;
  return (x | x >> 12) & 0xff;
}

// The formats of 32 weights a block hold their low four bits as the plane does, and a fifth in a word; eight bits are
// their own plane.
template <class Pack>
constexpr bool kLiesLikeItsPlane = Pack::F::kBlock == kGroupColumns && (Pack::kLow == 4 || Pack::kLow == 8);

// The codes of group kGroup of `count` rows' blocks, which `block(row)` gives, in their planes. With the group known,
// the compiler decodes a row in few instructions.
template <class Pack, int kGroup, class BlockOf>
inline void put_codes(const BlockOf& block, int count, uint8_t* planes) {
  constexpr int kLow = Pack::kLow, kHigh = Pack::kHigh;
  alignas(64) uint8_t low[P::kWidth * 4 * kLow] = {};
  if constexpr (kLiesLikeItsPlane<Pack>) {
    constexpr int kBias = kLow == 8 ? Pack::kBias : 0;
    for (int row = 0; row < count; ++row)
      for (int i = 0; i < 4 * kLow; ++i) low[4 * kLow * row + i] = uint8_t(uint8_t(block(row).codes[i]) + kBias);
    if constexpr (kHigh == 1) {
      uint32_t high[P::kWidth] = {}, bytes[P::kWidth];
      for (int row = 0; row < count; ++row) high[row] = block(row).high_bits;
      for (int row = 0; row < P::kWidth; ++row)
        bytes[row] = every_fourth_bit(high[row]) | every_fourth_bit(high[row] >> 1) << 8 |
                     every_fourth_bit(high[row] >> 2) << 16 | every_fourth_bit(high[row] >> 3) << 24;
      __builtin_memcpy(planes + kLow * kLaneBytes, bytes, sizeof(bytes));
    }
  } else {
    alignas(64) uint8_t high[P::kWidth * 4 * (kHigh > 0 ? kHigh : 1)] = {};
    for (int row = 0; row < count; ++row) {
      uint64_t words[kGroupWords];
      stored_words<Pack>(block(row), kGroup, words);
      make_plane<kLow, 0>(words, low + 4 * kLow * row);
      if constexpr (kHigh > 0) make_plane<kHigh, kLow>(words, high + 4 * kHigh * row);
    }
    if constexpr (kHigh > 0) spread_planes<kHigh>(high, planes + kLow * kLaneBytes);
  }
  spread_planes<kLow>(low, planes);
}

template <class Pack>
void pack_panel(const uint8_t* rows, int64_t row_stride, int count, int64_t groups, uint8_t* panel, int64_t stride) {
  using Block = typename Pack::F::Block;
  for (int64_t g = 0; g < groups; ++g) {
    const int i = int(g % Pack::kChunk), in_block = int(g % Pack::kBlockGroups);
    const auto block = [&](int row) -> const Block& {
      return *reinterpret_cast<const Block*>(rows + row * row_stride + g / Pack::kBlockGroups * int64_t(sizeof(Block)));
    };
    if (i == 0 && g > 0) panel += stride;
    if (i == 0 && count < P::kWidth) clear(panel, Pack::kCodesAt);
    for_steps(
        [&](auto group) {
          if (group == in_block) put_codes<Pack, group>(block, count, panel + Pack::codes_of(g));
        },
        std::make_integer_sequence<int, Pack::kBlockGroups>());
    for (int row = 0; row < count; ++row)
      Pack::Scales::pack(block(row), in_block, row, panel, panel + Pack::scales_of(g));
  }
}

// Codes are rounded to nearest; the largest magnitude of a group becomes 127, or less for its rounded scale.
inline void quantize_group(const float* x, int8_t* codes, TokenGroup* info) {
  constexpr int kVectors = kGroupColumns / P::kWidth;
  P::V v[kVectors], largest = P::zero(), nothing = P::zero();
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) {
    v[i] = P::load(x + i * P::kWidth);
    largest = P::max(largest, P::abs(v[i]));
    nothing = P::fma(v[i], P::zero(), nothing);  // NaN if a number is not finite
  }
  const float most = P::reduce_max(largest), scale = token_scale(most);
  const float inverse = most >= kLeastMagnitude ? 1.0f / scale : 0.0f;
  int32_t sums[2] = {0, 0};
  P::round_codes(v, P::set(inverse), codes, sums);
  info->scale = scale + P::zero_or_nan(nothing);
  info->scaled_sum = info->scale * float(sums[0] + sums[1]);
  info->minus_sum = -kLargestBias * (sums[0] + sums[1]);
  info->minus_first = -kLargestBias * sums[0];
}

// Most of a group's time is spent on what it has one of, so some instruction sets have P::quantize_four.
template <class Primitives>
concept QuantizesFour = requires {
  &Primitives::quantize_four;
};

template <class Primitives = P>
void quantize_token(const float* x, int64_t groups, int token, int tokens, int8_t* codes, TokenGroup* info) {
  codes += token * kGroupColumns;
  info += token;
  int64_t g = 0;
  if constexpr (QuantizesFour<Primitives>)
    for (; g + 4 <= groups; g += 4)
      Primitives::quantize_four(x + g * kGroupColumns, tokens, codes + g * tokens * kGroupColumns, info + g * tokens);
  for (; g < groups; ++g) quantize_group(x + g * kGroupColumns, codes + g * tokens * kGroupColumns, info + g * tokens);
}

void token_remainder(const float* x, const int8_t* codes, const TokenGroup& info, float* out) {
  const P::V scale = P::set(info.scale), one = P::set(1.0f);
  for (int i = 0; i < kGroupColumns; i += P::kWidth) {  // the product is rounded, then the difference
    const P::V code = P::load_i8(reinterpret_cast<const uint8_t*>(codes + i));
    P::store(out + i, P::fma(P::negate(P::mul(scale, code)), one, P::load(x + i)));
  }
}

template <class Pack, int kPanels, int kTokens>
void fill_dots(PanelFormat& format) {
  format.dot[kPanels][kTokens] = dot_packed<Pack, kPanels, kTokens>;
  if constexpr (kTokens <= InOrder<Pack>::kTokens)
    format.dot_in_order[kPanels][kTokens] = InOrder<Pack>::template kDot<kPanels, kTokens>;
  if constexpr (kTokens == 1 && InOrder<Pack>::kTokens > 0)
    format.dot_with_seconds[kPanels] = InOrder<Pack>::template kWithSeconds<kPanels>;
  if constexpr (kTokens > 1)
    fill_dots<Pack, kPanels, kTokens - 1>(format);
  else if constexpr (kPanels > 1)
    fill_dots<Pack, kPanels - 1, P::kTokens>(format);
}

template <class F, int kHalves>
PanelFormat plain_format() {
  PanelFormat format = {};
  format.halves = kHalves;
  format.has_offset = F::kHasOffset;
  format.unpack_rows = unpack_rows<F, kHalves>;
  return format;
}

template <class Pack>
PanelFormat packed_format() {
  PanelFormat format = plain_format<typename Pack::F, Pack::Scales::kHalves>();
  format.chunk_groups = Pack::kChunk;
  format.chunk_bytes = Pack::kChunkBytes;
  format.whole_codes = Pack::kLow == 8;
  format.pack = pack_panel<Pack>;
  format.unpack = unpack_panel<Pack>;
  fill_dots<Pack, P::kPanels, P::kTokens>(format);
  return format;
}

struct FullFormats {
  template <class Pack>
  static const PanelFormat* packed() {
    static const PanelFormat format = packed_format<Pack>();
    return &format;
  }
  template <class F>
  static const PanelFormat* plain() {
    static const PanelFormat format = plain_format<F, kGroupColumns / F::kGroup>();
    return &format;
  }
};

template <int kHalves, bool kOffset, bool kMultiples, int kPanels = P::kPanels, int kTokens = P::kTokens>
void fill_unpacked(UnpackedDots& dots) {
  dots.dot[kPanels][kTokens] = dot_unpacked<kHalves, kOffset, kPanels, kTokens, kMultiples>;
  if constexpr (kTokens > 1) {
    fill_unpacked<kHalves, kOffset, kMultiples, kPanels, kTokens - 1>(dots);
  } else {
    dots.listed[kPanels] = dot_listed<GroupDots<kHalves, kOffset, kPanels, kMultiples>>;
    if constexpr (kPanels > 1) fill_unpacked<kHalves, kOffset, kMultiples, kPanels - 1>(dots);
  }
}
template <bool kOffset>
void fill_unpacked_dots(PanelKernels& kernels) {
  fill_unpacked<1, kOffset, false>(kernels.with_scales[0][kOffset]);
  fill_unpacked<2, kOffset, false>(kernels.with_scales[1][kOffset]);
  if constexpr (HasMultiples<P>) fill_unpacked<1, kOffset, true>(kernels.with_multiples[kOffset]);
}

// `floats`: the table of kernels.h that goes with it.
PanelKernels make_panel_kernels(const char* name, const char* floats) {
  PanelKernels kernels = {};
  kernels.name = name;
  kernels.floats = floats;
  kernels.width = P::kWidth;
  kernels.tiles = {.tokens = P::kTokens,
                   .unpack_groups = 28,
                   .packed_tiles = {3, 8},
                   .in_order = prefetches_what_is_in_order(),
                   .multiples = HasMultiples<P> && has_pipes_beside_products()};
  kernels.panels = P::kPanels;
  kernels.format = panel_format_of<FullFormats>;
  kernels.quantize = quantize_token<>;
  kernels.remainder = token_remainder;
  kernels.store = store_sums;
  kernels.peak = dot_peak;
  kernels.read = read_all;
  fill_unpacked_dots<false>(kernels);
  fill_unpacked_dots<true>(kernels);
  if constexpr (HasMultiples<P>) kernels.multiply_scales = multiply_scales;
  return kernels;
}

// From the rows of a file to panels, packed or unpacked, and from floats to tokens. Included in the unnamed namespace
// of each folder's panels.cc, after simd_panel_dots.h.

// Sets what a panel holds of rows that do not exist: codes and scales of zero.
inline void clear(uint8_t* bytes, int64_t count) { __builtin_memset(bytes, 0, size_t(count)); }

// The codes of group `group` (of 32 columns) of a row of blocks, and their scales and offsets for 16 or 32 columns.
template <class F>
inline void decode_group(const uint8_t* row, int64_t group, int8_t* codes, float* scales, float* offsets) {
  constexpr int kBlockGroups = F::kBlock / kGroupColumns, kParts = kGroupColumns / F::kGroup;
  const auto& block =
      *reinterpret_cast<const typename F::Block*>(row + group / kBlockGroups * int64_t(sizeof(typename F::Block)));
  for (int part = 0; part < kParts; ++part)
    F::decode(block, int(group % kBlockGroups) * kParts + part, codes + part * F::kGroup, scales[part], offsets[part]);
}

template <class F>
void unpack_rows(const uint8_t* rows, int64_t row_stride, int count, int64_t first, int64_t groups,
                 const UnpackedPanel& out) {
  constexpr int kHalves = kGroupColumns / F::kGroup;
  for (int64_t g = 0; g < groups; ++g) {
    uint8_t* to = out.codes + g * kGroupSteps * kLaneBytes;
    for (int row = 0; row < P::kWidth; ++row) {
      alignas(64) int8_t codes[kGroupColumns] = {};
      float scales[kHalves] = {}, offsets[kHalves] = {};
      if (row < count) decode_group<F>(rows + row * row_stride, first + g, codes, scales, offsets);
      for (int i = 0; i < kGroupColumns; ++i) codes[i] = int8_t(uint8_t(codes[i]) + P::kSignedBias);
#pragma GCC unroll 8
      for (int s = 0; s < kGroupSteps; ++s) __builtin_memcpy(to + s * kLaneBytes + 4 * row, codes + 4 * s, 4);
      for (int half = 0; half < kHalves; ++half) {
        out.scales[(g * kHalves + half) * P::kWidth + row] = scales[half];
        if (F::kHasOffset) out.offsets[(g * kHalves + half) * P::kWidth + row] = offsets[half];
      }
    }
  }
}

// One plane of kBits bits of a row's 32 codes: 4 * kBits bytes, of which byte k has code k, 4 kBits + k, ... at rising
// bits.
template <int kBits>
inline void put_plane(const uint8_t* codes, int row, uint8_t* plane) {
  alignas(32) uint8_t bytes[4 * kBits] = {};
  for (int m = 0; m < 8 / kBits; ++m)
    for (int k = 0; k < 4 * kBits; ++k) bytes[k] = uint8_t(bytes[k] | codes[4 * kBits * m + k] << (kBits * m));
#pragma GCC unroll 8
  for (int i = 0; i < kBits; ++i) __builtin_memcpy(plane + i * kLaneBytes + 4 * row, bytes + 4 * i, 4);
}

// Bits 0, 4, ... 28 of x, side by side.
inline uint8_t every_fourth_bit(uint32_t x) {
  x &= 0x11111111;
  x = (x | x >> 3) & 0x03030303;
  x = (x | x >> 6) & 0x000f000f;
  return uint8_t(x | x >> 12);
}

// The formats of 32 weights a block hold their low four bits as the plane does, and a fifth in a word.
template <class Pack>
constexpr bool kLiesLikeItsPlane = Pack::F::kBlock == kGroupColumns && Pack::kLow == 4;

// The codes of a row's group in their planes.
template <class Pack>
inline void put_codes(const typename Pack::F::Block& block, int group_of_block, int row, uint8_t* plane) {
  using F = typename Pack::F;
  if constexpr (kLiesLikeItsPlane<Pack>) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) __builtin_memcpy(plane + i * kLaneBytes + 4 * row, block.codes + 4 * i, 4);
    if constexpr (Pack::kHigh == 1) {
      const uint32_t high = block.high_bits;
      for (int i = 0; i < 4; ++i) plane[4 * kLaneBytes + 4 * row + i] = every_fourth_bit(high >> i);
    }
    return;
  }
  if constexpr (F::kBlock == kGroupColumns && Pack::kLow == 8) {  // bytes, as they lie in the file
    alignas(32) uint8_t codes[kGroupColumns];
    for (int i = 0; i < kGroupColumns; ++i) codes[i] = uint8_t(uint8_t(block.codes[i]) + Pack::kBias);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) __builtin_memcpy(plane + i * kLaneBytes + 4 * row, codes + 4 * i, 4);
    return;
  }
  constexpr int kParts = kGroupColumns / F::kGroup;
  alignas(32) int8_t decoded[kGroupColumns];
  alignas(32) uint8_t codes[kGroupColumns], low[kGroupColumns], high[kGroupColumns];
  float scale, offset;  // go their own way
  for (int part = 0; part < kParts; ++part)
    F::decode(block, group_of_block * kParts + part, decoded + part * F::kGroup, scale, offset);
  for (int i = 0; i < kGroupColumns; ++i) codes[i] = Pack::stored(decoded[i]);
  for (int i = 0; i < kGroupColumns; ++i) low[i] = uint8_t(codes[i] & ((1 << Pack::kLow) - 1));
  put_plane<Pack::kLow>(low, row, plane);
  if constexpr (Pack::kHigh > 0) {
    for (int i = 0; i < kGroupColumns; ++i) high[i] = uint8_t(codes[i] >> Pack::kLow);
    put_plane<Pack::kHigh>(high, row, plane + Pack::kLow * kLaneBytes);
  }
}

template <class Pack>
void pack_panel(const uint8_t* rows, int64_t row_stride, int count, int64_t groups, uint8_t* panel) {
  using Block = typename Pack::F::Block;
  if (count < P::kWidth) clear(panel, Pack::panel_bytes(groups));
  uint8_t* scales = panel + Pack::scales_at(groups);
  for (int64_t g = 0; g < groups; ++g)
    for (int row = 0; row < count; ++row) {
      const auto& block =
          *reinterpret_cast<const Block*>(rows + row * row_stride + g / Pack::kBlockGroups * int64_t(sizeof(Block)));
      put_codes<Pack>(block, int(g % Pack::kBlockGroups), row, panel + g * Pack::kCodeBytes);
      Pack::Scales::pack(block, int(g % Pack::kBlockGroups), row, scales + Pack::header_of(g),
                         scales + Pack::scales_of(g));
    }
}

// The codes of the panels' planes with the bias of unpacked ones.
template <class Pack>
void unpack_panel(const uint8_t* panel, int64_t panel_groups, int64_t first, int64_t groups, const UnpackedPanel& out) {
  constexpr int kHalves = Pack::Scales::kHalves;
  const uint8_t* scales = panel + Pack::scales_at(panel_groups);
  for (int64_t g = 0; g < groups; ++g) {
    const auto planes = Pack::load(panel + (first + g) * Pack::kCodeBytes);
    uint8_t* to = out.codes + g * kGroupSteps * kLaneBytes;
    for_steps(
        [&](auto step) {
          constexpr int kDifference = P::kSignedBias - Pack::kBias;
          P::store_codes(to + step * kLaneBytes, P::template add_bias<kDifference>(Pack::template step<step>(planes)));
        },
        kAllSteps);
    P::V scale[2], offset[2];
    Pack::Scales::read(scales + Pack::header_of(first + g), scales + Pack::scales_of(first + g), scale, offset);
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      P::store(out.scales + (g * kHalves + half) * P::kWidth, scale[half]);
      if constexpr (Pack::F::kHasOffset) P::store(out.offsets + (g * kHalves + half) * P::kWidth, offset[half]);
    }
  }
}

// Codes are rounded to nearest; the largest magnitude of a group becomes 127.
void quantize_token(const float* x, int64_t groups, int token, int tokens, int8_t* codes, TokenGroup* info) {
  constexpr int kVectors = kGroupColumns / P::kWidth;
  codes += token * kGroupColumns;
  info += token;
  for (int64_t g = 0; g < groups; ++g, x += kGroupColumns, codes += tokens * kGroupColumns, info += tokens) {
    P::V v[kVectors], largest = P::zero(), nothing = P::zero();
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      v[i] = P::load(x + i * P::kWidth);
      largest = P::max(largest, P::abs(v[i]));
      nothing = P::fma(v[i], P::zero(), nothing);  // NaN if a number is not finite
    }
    const float most = P::reduce_max(largest);
    const float inverse = most >= 1e-30f ? 127.0f / most : 0.0f;
    int32_t sums[2] = {0, 0};
    P::round_codes(v, P::set(inverse), codes, sums);
    info->scale = most * (1.0f / 127.0f) + P::reduce_add(nothing);
    info->scaled_sum = info->scale * float(sums[0] + sums[1]);
    info->minus_sum = -(sums[0] + sums[1]);
    info->minus_first = -sums[0];
  }
}

void token_remainder(const float* x, int64_t groups, int token, int tokens, const int8_t* codes, const TokenGroup* info,
                     float* out) {
  codes += token * kGroupColumns;
  info += token;
  for (int64_t g = 0; g < groups; ++g, codes += tokens * kGroupColumns, info += tokens)
    for (int i = 0; i < kGroupColumns; ++i)
      out[g * kGroupColumns + i] = x[g * kGroupColumns + i] - info->scale * float(codes[i]);
}

template <class Pack, int kTokens>
void fill_dots(PanelFormat& format) {
  format.dot[kTokens] = dot_packed<Pack, kTokens>;
  if constexpr (kTokens > 1) fill_dots<Pack, kTokens - 1>(format);
}

template <class F>
PanelFormat plain_format() {
  PanelFormat format = {};
  format.halves = kGroupColumns / F::kGroup;
  format.has_offset = F::kHasOffset;
  format.block_groups = F::kBlock / kGroupColumns;
  format.unpack_rows = unpack_rows<F>;
  return format;
}

template <class Pack>
PanelFormat packed_format() {
  PanelFormat format = plain_format<typename Pack::F>();
  format.panel_bytes = Pack::panel_bytes;
  format.pack = pack_panel<Pack>;
  format.unpack = unpack_panel<Pack>;
  fill_dots<Pack, P::kTokens>(format);
  return format;
}

template <class Pack>
const PanelFormat* packed() {
  static const PanelFormat format = packed_format<Pack>();
  return &format;
}
template <class F>
const PanelFormat* plain() {
  static const PanelFormat format = plain_format<F>();
  return &format;
}

const PanelFormat* panel_format(Format format) {
  switch (format) {
    case Format::kQ4_0:
      return packed<PackedQ4_0>();
    case Format::kQ4_1:
      return packed<PackedQ4_1>();
    case Format::kQ5_0:
      return packed<PackedQ5_0>();
    case Format::kQ5_1:
      return packed<PackedQ5_1>();
    case Format::kQ8_0:
      return packed<PackedQ8_0>();
    case Format::kQ2_K:
      return packed<PackedQ2_K>();
    case Format::kQ3_K:
      return packed<PackedQ3_K>();
    case Format::kQ4_K:
      return packed<PackedQ4_K>();
    case Format::kQ5_K:
      return packed<PackedQ5_K>();
    case Format::kQ6_K:
      return packed<PackedQ6_K>();
    case Format::kIQ4_NL:
      return packed<PackedIQ4_NL>();
    case Format::kIQ4_XS:
      return packed<PackedIQ4_XS>();
    case Format::kMXFP4:
      return packed<PackedMXFP4>();
    case Format::kTQ2_0:
      return packed<PackedTQ2_0>();
    case Format::kQ1_0:
      return plain<quant::Q1_0>();
    case Format::kQ8_1:
      return plain<quant::Q8_1>();
    case Format::kQ8_K:
      return plain<quant::Q8_K>();
    case Format::kTQ1_0:
      return plain<quant::TQ1_0>();
    case Format::kNVFP4:
      return plain<quant::NVFP4>();
    case Format::kIQ1_S:
      return plain<quant::IQ1_S>();
    case Format::kIQ1_M:
      return plain<quant::IQ1_M>();
    case Format::kIQ2_XXS:
      return plain<quant::IQ2_XXS>();
    case Format::kIQ2_XS:
      return plain<quant::IQ2_XS>();
    case Format::kIQ2_S:
      return plain<quant::IQ2_S>();
    case Format::kIQ3_XXS:
      return plain<quant::IQ3_XXS>();
    case Format::kIQ3_S:
      return plain<quant::IQ3_S>();
    default:
      return nullptr;
  }
}

template <int kHalves, bool kOffset, int kPanels, int kTokens>
void fill_unpacked(PanelKernels& kernels) {
  kernels.dot[kHalves - 1][kOffset][kPanels][kTokens] = dot_unpacked<kHalves, kOffset, kPanels, kTokens>;
  if constexpr (kTokens > 1) fill_unpacked<kHalves, kOffset, kPanels, kTokens - 1>(kernels);
}
template <int kPanels>
void fill_unpacked_panels(PanelKernels& kernels) {
  fill_unpacked<1, false, kPanels, P::kTokens>(kernels);
  fill_unpacked<1, true, kPanels, P::kTokens>(kernels);
  fill_unpacked<2, false, kPanels, P::kTokens>(kernels);
  fill_unpacked<2, true, kPanels, P::kTokens>(kernels);
  if constexpr (kPanels > 1) fill_unpacked_panels<kPanels - 1>(kernels);
}

PanelKernels make_panel_kernels(const char* name) {
  PanelKernels kernels = {};
  kernels.name = name;
  kernels.width = P::kWidth;
  kernels.tokens = P::kTokens;
  kernels.panels = P::kPanels;
  kernels.format = panel_format;
  kernels.quantize = quantize_token;
  kernels.remainder = token_remainder;
  kernels.peak = dot_peak;
  kernels.read = read_all;
  fill_unpacked_panels<P::kPanels>(kernels);
  return kernels;
}

// Products of unpacked panels with tiles: a group of a panel is eight rows of 64 bytes, some tokens are rows of 32, and
// one instruction gives the whole numbers of all their products. Included in the unnamed namespace of panels.cc and of
// emulated_test.cc, which say what a tile is (struct Tiles); the integer sums are exact and join the floats in the
// order of ../simd_panel_dots.h, whose results these equal bit for bit.
//
// Floor, 12 tokens x 32 rows x 32 columns (docs/decisions/integer-panels.md): two products of 12 to 16 cycles and two
// stores of 16, one after the other, are 56 to 64 cycles; 24 conversions and 48 float operations (72 with offsets) are
// 36 (48) on two ports. VNNI takes 132 at least. Measured on Emerald Rapids: 52 and 34 alone, 97 together.

struct P : Avx512Panels {
  static constexpr int kSignedBias = 128;  // panels are packed as those of ../avx512vnni, which multiplies few tokens
  static constexpr int kUnpackedBias = 0;
};

#include "backend/cpu/simd_panel_codes.h"
#include "backend/cpu/simd_panel_common.h"
#include "backend/cpu/simd_panel_expand.h"
#include "backend/cpu/simd_panel_formats.h"
#include "backend/cpu/simd_panel_listed.h"

constexpr int kTileTokens = 12;  // with two panels, their sums are 24 of 32 registers
constexpr int kManyTokens = 32;  // fewer are multiplied faster by VNNI
constexpr int kTileRowBytes = 64;

// What each tile holds: two pairs of sums, two of tokens, two of weights.
constexpr int kSumTile = 0, kTokenTile = 4, kWeightTile = 6;

// What LDTILECFG reads (Intel's Software Developer's Manual, volume 1, "Tile architecture details").
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr void set(int tile, int of_rows, int bytes) {
    rows[tile] = uint8_t(of_rows);
    row_bytes[tile] = uint16_t(bytes);
  }
};

// Sums of so many tokens over `columns` columns.
constexpr TileConfig tile_config(int tokens, int columns) {
  TileConfig config;
  for (int i = 0; i < 4; ++i) config.set(kSumTile + i, tokens, kTileRowBytes);
  for (int i = 0; i < 2; ++i) {
    config.set(kTokenTile + i, tokens, columns);
    config.set(kWeightTile + i, columns / 4, kTileRowBytes);
  }
  return config;
}

// f(0), f(1), ... Functions that are not inlined before the compiler looks which arrays can lie in registers would keep
// the sums in memory.
#define METALLIC_INLINE __attribute__((always_inline))
template <class F, int... kIndex>
[[gnu::always_inline]] inline void unrolled(const F& f, std::integer_sequence<int, kIndex...>) {
  (f(std::integral_constant<int, kIndex>()), ...);
}

// How this thread's tiles are configured: 100 * columns + tokens; 0: not at all.
thread_local int tile_shape = 0;

template <int kTokens, int kColumns>
inline void use_tiles() {
  constexpr int kShape = 100 * kColumns + kTokens;
  if (tile_shape == kShape) return;
  static constexpr TileConfig kConfig = tile_config(kTokens, kColumns);
  Tiles::configure(kConfig);
  tile_shape = kShape;
}

// Tiles in use would be saved whenever the system switches to another thread.
void release_tiles() {
  if (tile_shape != 0) Tiles::release();
  tile_shape = 0;
}

// Groups take turns with the tiles: while one is multiplied, the one before is stored, and of the one before that the
// sums are read and joined.
template <bool kOffset, int kPanels, int kTokens>
void dot_tiles(const UnpackedPanel& panels, int64_t panel_groups, int64_t groups, const TokenTile& tokens,
               const UnpackedSums& sums) {
  constexpr int64_t kGroupBytes = kGroupSteps * kLaneBytes;
  constexpr std::make_integer_sequence<int, kPanels> kEachPanel;
  constexpr std::make_integer_sequence<int, kTokens * kPanels> kEachSum;
  alignas(64) int32_t stored[2][kPanels][kTokens][P::kWidth];
  use_tiles<kTokens, kGroupColumns>();

  const auto multiply = [&](auto turn, int64_t group) {
    Tiles::template load<kTokenTile + turn>(tokens.codes + group * kTokens * kGroupColumns, kGroupColumns);
    unrolled(
        [&](auto p) {
          constexpr int kSum = kSumTile + 2 * turn + p;
          Tiles::template load<kWeightTile + p>(panels.codes + (p * panel_groups + group) * kGroupBytes, kTileRowBytes);
          Tiles::template zero<kSum>();
          Tiles::template dot<kSum, kTokenTile + turn, kWeightTile + p>();
        },
        kEachPanel);
  };
  const auto store = [&](auto turn) {
    unrolled([&](auto p) { Tiles::template store<kSumTile + 2 * turn + p>(stored[turn][p]); }, kEachPanel);
  };

  P::V accumulator[kPanels][kTokens];
  begin_sums(sums, tokens, accumulator);
  const auto join = [&](auto turn, int64_t group) METALLIC_INLINE {
    const TokenGroup* info = tokens.groups + group * kTokens;
    P::V scale[kPanels], offset[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      const int64_t at = (p * panel_groups + group) * P::kWidth;
      scale[p] = P::load(panels.scales + at);
      if constexpr (kOffset) offset[p] = P::load(panels.offsets + at);
    }
    unrolled(
        [&](auto i) METALLIC_INLINE {
          constexpr int kPanel = i % kPanels, kToken = i / kPanels;
          const P::I sum = P::load(reinterpret_cast<const uint8_t*>(stored[turn][kPanel][kToken]));
          P::V& to = accumulator[kPanel][kToken];
          to = add_products<1>(to, &sum, &scale[kPanel], info[kToken]);
          if constexpr (kOffset) to = add_offsets<1>(to, &offset[kPanel], info[kToken]);
        },
        kEachSum);
  };

  constexpr std::integral_constant<int, 0> kEven;
  constexpr std::integral_constant<int, 1> kOdd;
  multiply(kEven, 0);
  store(kEven);
  if (groups > 1) multiply(kOdd, 1);
  for (int64_t group = 0; group < groups; group += 2) {
    if (group + 2 < groups) multiply(kEven, group + 2);
    if (group + 1 < groups) store(kOdd);
    join(kEven, group);
    if (group + 1 == groups) break;
    if (group + 3 < groups) multiply(kOdd, group + 3);
    if (group + 2 < groups) store(kEven);
    join(kOdd, group + 1);
  }
  finish_sums(sums, tokens, accumulator);
}

template <bool kOffset, int kPanels>
struct GroupDots {
  static constexpr int kMostTokens = kTileTokens;
  template <int kTokens>
  static void add(const UnpackedPanel& panels, int64_t panel_groups, int64_t g, const TokenTile& tokens, float* sums) {
    dot_tiles<kOffset, kPanels, kTokens>(panels.further(g, 1, P::kWidth), panel_groups, 1, tokens, {sums});
  }
};

// As dot_peak: full tiles, 64 columns of which 16 tokens and 16 rows share each.
int64_t tile_peak(int64_t rounds) {
  constexpr int kTokens = 16, kColumns = 64, kRepeats = 4;
  alignas(64) int8_t tokens[2][kTokens][kColumns];
  alignas(64) uint8_t weights[2][kColumns / 4][kTileRowBytes];
  alignas(64) int32_t result[kTokens][P::kWidth];
  for (int i = 0; i < int(sizeof(tokens)); ++i) (&tokens[0][0][0])[i] = int8_t(i % 7) - 3;
  for (int i = 0; i < int(sizeof(weights)); ++i) (&weights[0][0][0])[i] = uint8_t(i % 16);
  use_tiles<kTokens, kColumns>();
  unrolled([&](auto i) { Tiles::template zero<kSumTile + i>(); }, std::make_integer_sequence<int, 4>());
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" ::"r"(weights), "r"(tokens) : "memory");  // they may be others in each round, for all that is known
    unrolled(
        [&](auto i) {
          Tiles::template load<kTokenTile + i>(tokens[i], kColumns);
          Tiles::template load<kWeightTile + i>(weights[i], kTileRowBytes);
        },
        std::make_integer_sequence<int, 2>());
#pragma GCC unroll 4
    for (int repeat = 0; repeat < kRepeats; ++repeat)
      unrolled([&](auto i) { Tiles::template dot<kSumTile + i, kTokenTile + i % 2, kWeightTile + i / 2>(); },
               std::make_integer_sequence<int, 4>());
  }
  unrolled([&](auto i) { Tiles::template store<kSumTile + i>(result); }, std::make_integer_sequence<int, 4>());
  release_tiles();
  return rounds * kRepeats * 4 * kTokens * P::kWidth * kColumns * 2;
}

// Packed as avx512vnni has them, and unpacked for tiles. Formats with two scales for a group are left to VNNI: with
// twice as many products and stores for the same columns, tiles are slower.
struct TileFormats {
  template <class F>
  static PanelFormat with_rows() {
    PanelFormat format = *avx512vnni_panels().format(F::kFormat);
    format.unpack_rows = unpack_rows<F, 1>;
    return format;
  }
  template <class Pack>
  static const PanelFormat* packed() {
    if constexpr (Pack::Scales::kHalves == 2) {
      return nullptr;
    } else {
      static const PanelFormat format = [] {
        PanelFormat unpacked = with_rows<typename Pack::F>();
        unpacked.unpack = unpack_panel<Pack>;
        return unpacked;
      }();
      return &format;
    }
  }
  template <class F>
  static const PanelFormat* plain() {
    if constexpr (F::kGroup < kGroupColumns) {
      return nullptr;
    } else {
      static const PanelFormat format = with_rows<F>();
      return &format;
    }
  }
};

template <bool kOffset, int kPanels, int kTokens>
void fill_tile_dots(PanelKernels& kernels) {
  UnpackedDots& dots = kernels.with_scales[0][kOffset];
  dots.dot[kPanels][kTokens] = dot_tiles<kOffset, kPanels, kTokens>;
  dots.listed[kPanels] = dot_listed<GroupDots<kOffset, kPanels>>;
  if constexpr (kTokens > 1)
    fill_tile_dots<kOffset, kPanels, kTokens - 1>(kernels);
  else if constexpr (kPanels > 1)
    fill_tile_dots<kOffset, kPanels - 1, kTileTokens>(kernels);
}

PanelKernels make_tile_kernels(const char* name) {
  PanelKernels kernels = avx512vnni_panels();
  kernels.name = name;
  kernels.tiles = {.tokens = kTileTokens, .unpack_groups = 16, .packed_tiles = {0, 0}};
  kernels.few = &avx512vnni_panels();
  kernels.many_tokens = kManyTokens;
  kernels.format = panel_format_of<TileFormats>;
  kernels.peak = tile_peak;
  kernels.release = release_tiles;
  kernels.multiply_scales = nullptr;  // panels are unpacked otherwise than for with_multiples
  fill_tile_dots<false, 2, kTileTokens>(kernels);
  fill_tile_dots<true, 2, kTileTokens>(kernels);
  return kernels;
}
#undef METALLIC_INLINE

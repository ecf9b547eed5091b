// Products of quantised weights with quantised tokens, in integers: w = scale * code + offset for a group of 16 or 32
// columns, x = scale * code for a group of 32, so that
//     sum w x = scale_w scale_x (sum of code products) + offset_w scale_x (sum of x's codes),
// group after group in float. The sums of code products are exact, whatever the order, so an element's bits depend on
// its row and its token alone.
//
// Weights lie in panels: `width` rows side by side (one for each 32-bit lane of a vector), four columns of each at a
// step, which is what the dot-product instructions want. A panel is packed from the rows of a file once, when a model
// is loaded; or a part of it is unpacked from the file's bytes whenever it is needed. Both give the same codes.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

#include "metallic/format.h"

namespace metallic::cpu {

inline constexpr int kGroupColumns = 32;
inline constexpr int kGroupSteps = 8;       // of four columns
inline constexpr int kMaxPanelTokens = 12;  // tokens of a tile
inline constexpr int kMaxPackedTokens = 6;  // tokens of a tile for packed panels
inline constexpr int kLargestBias = 128;    // of the codes of weights
// Bytes that the products of packed panels fetch ahead of what they read.
inline constexpr int64_t kFetchAhead = 16 << 10;
inline constexpr int64_t kLeadAhead = 6 << 10;
inline constexpr int kMaxPanels = 2;          // panels that a kernel takes at once
inline constexpr int64_t kUnpackGroups = 32;  // groups that are unpacked at a time, at most

// A token's scale is a power of two times 1 + step / kScaleSteps, so that few multiples of weights' scales are all that
// its products need (PanelKernels::with_multiples). Codes become coarser by 6 % at most.
inline constexpr int kScaleSteps = 16;
inline constexpr int kStepShift = 23 - std::countr_zero(unsigned(kScaleSteps));  // of a float's bits
inline int scale_step(float scale) { return int(std::bit_cast<uint32_t>(scale) >> kStepShift & (kScaleSteps - 1)); }
// The smallest such scale for a group whose largest magnitude is `most`.
inline float token_scale(float most) {
  constexpr uint32_t kBelow = (1u << kStepShift) - 1;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(most * (1.0f / 127.0f)) + kBelow) & ~kBelow);
}

// Codes of a group whose largest magnitude is less are zero.
inline constexpr float kLeastMagnitude = 1e-30f;

// What is known of 32 columns of a token beside their codes.
struct TokenGroup {
  float scale;          // of token_scale
  float scaled_sum;     // scale * the sum of the codes
  int32_t minus_sum;    // of the codes, times kLargestBias
  int32_t minus_first;  // of the first 16, likewise
};

inline constexpr std::array<int32_t, kMaxPanelTokens> kInOrder = [] {
  std::array<int32_t, kMaxPanelTokens> rows = {};
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = int32_t(i);
  return rows;
}();

// Second codes, for what the codes of one token leave in some of its groups. Of each `chunk` groups it is listed which.
struct SecondCodes {
  int64_t chunks, chunk;
  const int32_t* listed;     // (chunks): how many
  const int32_t* groups;     // (chunks, chunk): which, in order
  const int8_t* codes;       // (all groups, 32), of those
  const TokenGroup* scales;  // (all groups), likewise
};

// Some tokens as the kernels want them: the groups one after the other, the tokens side by side in each.
struct TokenTile {
  const int8_t* codes;                    // (groups, tokens, 32)
  const TokenGroup* groups;               // (groups, tokens)
  const int32_t* rows = kInOrder.data();  // (tokens): the row of sums of each, for unpacked panels
  SecondCodes seconds = {};               // for PanelFormat::dot_with_seconds
};

// One or two packed panels. A panel is cut into chunks of some groups; those of neighbours lie in turn (bundles of
// PanelKernels::panels, the last of a matrix may be smaller), so that a kernel reads both as one stream of bytes.
struct PackedPanels {
  const uint8_t* first;  // the first chunk of the first panel; the second panel's comes at once behind it
  int64_t stride;        // from a chunk of a panel to its next
  int64_t bundles = 1;   // so many of these, one behind the other
};

// Room for some groups of a panel, unpacked.
struct UnpackedPanel {
  uint8_t* codes;  // (groups, 8, width, 4), with a bias that the kernels know
  float* scales;   // (groups, halves, width)
  float* offsets;  // (groups, halves, width), if the format has offsets
  // (groups, kScaleSteps, width): the scales times 1, 1 + 1 / kScaleSteps, ...; for PanelKernels::with_multiples.
  float* multiples = nullptr;

  // What lies so many groups further, of panels with so many halves and rows.
  UnpackedPanel further(int64_t groups, int halves, int width) const {
    const int64_t of_scales = groups * halves * width;
    return {codes + groups * kGroupColumns * width, scales + of_scales, offsets + of_scales,
            multiples != nullptr ? multiples + of_scales * kScaleSteps : nullptr};
  }
};

// Where the products of packed panels go: rows = products + bias, or rows += that.
struct PanelOutput {
  float* rows;                  // (tokens, bundles * panels * width)
  int64_t stride;               // floats from a token's to the next's
  const float* bias = nullptr;  // (bundles * panels * width), or null
  bool accumulate = false;
};

using DotPacked = void (*)(const PackedPanels& panels, int64_t groups, const TokenTile& tokens, const PanelOutput& out);

// The functions for one format on one instruction set.
struct PanelFormat {
  int halves;  // 2: scales for 16 columns, 1: for 32
  bool has_offset;

  // Groups [first, first + groups) of `rows` <= width rows of the file, row_stride bytes apart; the other rows of the
  // panel become zero. A block may be cut.
  void (*unpack_rows)(const uint8_t* rows, int64_t row_stride, int count, int64_t first, int64_t groups,
                      const UnpackedPanel& out);

  // For formats that have a packed form; null for others.
  int64_t chunk_groups, chunk_bytes;
  bool whole_codes;  // of 8 bits: packed as the kernels take them
  int64_t panel_bytes(int64_t groups) const { return (groups + chunk_groups - 1) / chunk_groups * chunk_bytes; }
  // The chunks of one panel, `stride` bytes apart.
  void (*pack)(const uint8_t* rows, int64_t row_stride, int count, int64_t groups, uint8_t* panel, int64_t stride);
  void (*unpack)(const PackedPanels& panel, int64_t first, int64_t groups, const UnpackedPanel& out);
  // The product of one or two packed panels with 1 to kMaxPackedTokens tokens.
  DotPacked dot[kMaxPanels + 1][kMaxPackedTokens + 1];
  // Null, or the same for PanelTiles::in_order.
  DotPacked dot_in_order[kMaxPanels + 1][kMaxPackedTokens + 1];
  // Likewise for one token, second codes too, which are added.
  DotPacked dot_with_seconds[kMaxPanels + 1];
  DotPacked packed_dot(bool in_order, int64_t panels, int64_t tokens) const {
    const DotPacked ordered = in_order ? dot_in_order[panels][tokens] : nullptr;
    return ordered != nullptr ? ordered : dot[panels][tokens];
  }
};

// Where the products of unpacked panels go: rows tokens.rows of sums (any, panels * width) += products.
struct UnpackedSums {
  float* sums;
  bool anew = false;  // sums = products
  // Null, or sums are complete with these products and go there, with second ones (tokens, panels * width) if there
  // are.
  const PanelOutput* out = nullptr;
  const float* seconds = nullptr;
};

// The product of one or two unpacked panels with `groups` groups of 1 to kMaxPanelTokens tokens. The second panel's
// arrays follow the first's, `panel_groups` groups later.
using DotUnpacked = void (*)(const UnpackedPanel& panels, int64_t panel_groups, int64_t groups, const TokenTile& tokens,
                             const UnpackedSums& sums);

// Of some groups the tokens that have codes, side by side in so many places.
struct ListedTokens {
  std::span<const int32_t> groups;
  const int32_t* counts;   // (all groups): tokens of each
  int64_t places;          // of a group
  const int8_t* codes;     // (all groups, places, 32)
  const TokenGroup* info;  // (all groups, places)
  const int32_t* tokens;   // (all groups, places): the row of sums of each
};
// sums (any, panels * width) += the product of these with one or two panels, whose groups are there from `first_group`
// on.
using DotListed = void (*)(const UnpackedPanel& panels, int64_t panel_groups, int64_t first_group,
                           const ListedTokens& tokens, float* sums);

// What multiplies unpacked panels with one form of scales.
struct UnpackedDots {
  DotUnpacked dot[kMaxPanels + 1][kMaxPanelTokens + 1];  // by panels and tokens
  DotListed listed[kMaxPanels + 1];                      // by panels
};

// Sums of some tokens with the rows of one or two panels, which go with second ones to `out`.
struct PanelSums {
  const float* sums;
  const float* seconds;            // or null
  int64_t stride, seconds_stride;  // floats from a token to the next
  int64_t tokens, rows;            // rows <= panels * width
  PanelOutput out;
  const int32_t* out_rows;  // (tokens): the row of `out` of each; null: in order
};

// What changes no bit of a result, only its speed.
struct PanelTiles {
  int tokens;             // of a tile
  int64_t unpack_groups;  // that are unpacked at a time, at most kUnpackGroups
  // So many tiles of tokens are multiplied from packed panels; for more, it pays to unpack first. By whole_codes.
  int64_t packed_tiles[2];
  // Packed panels are read in the order of their bytes, and left to the processor's own prefetching, where there is a
  // kernel for it.
  bool in_order = false;
  // Unpacked panels are multiplied by PanelKernels::with_multiples, where there is one.
  bool multiples = false;
  bool operator==(const PanelTiles&) const = default;
};

struct PanelKernels {
  const char* name;
  const char* floats;  // the table of kernels.h that goes with it
  int width;           // rows of a panel
  PanelTiles tiles;    // the best where it was tried; tuning.h measures them
  int panels;          // best number of panels at once
  // Null, or the table, whose panels are the same, for all that this one is not for: products of fewer than many_tokens
  // tokens, or of other formats.
  const PanelKernels* few;
  int64_t many_tokens;
  const PanelFormat* (*format)(Format format);  // null for what these are not for
  UnpackedDots with_scales[2][2];               // by halves - 1 and has_offset
  // For panels with a scale for 32 columns and its multiples, if multiply_scales is not null: a group's sum is
  // multiplied with the one that has the token's scale but for a power of two, which is no multiplication. By
  // has_offset.
  UnpackedDots with_multiples[2];
  // For these: the multiples of scales (groups, width).
  void (*multiply_scales)(const float* scales, int64_t groups, float* multiples);
  bool has_multiples(const PanelFormat& of) const { return multiply_scales != nullptr && of.halves == 1; }
  const UnpackedDots& unpacked_dots(const PanelFormat& of, bool multiples) const {
    return multiples ? with_multiples[of.has_offset] : with_scales[of.halves - 1][of.has_offset];
  }
  // Null, or called by a thread after its last product for a while: gives back what `dot` took hold of.
  void (*release)();
  // A row of floats as number `token` of a tile of `tokens`. A number that is not finite makes its group's scale NaN.
  void (*quantize)(const float* x, int64_t groups, int token, int tokens, int8_t* codes, TokenGroup* info);
  // What that left of the 32 numbers of a group: out = x - scale * code. `codes` and `info` are the token's own.
  void (*remainder)(const float* x, const int8_t* codes, const TokenGroup& info, float* out);
  void (*store)(const PanelSums& sums);
  // For measuring what the processor can do at most (limits.h). Dot products of codes that stay in registers or the
  // nearest cache, with nothing around them; returns how many multiplications and additions that were.
  int64_t (*peak)(int64_t rounds);
  // Reads `bytes`, a multiple of 1024, once and in order; returns 0 if all of them are 0.
  uint8_t (*read)(const uint8_t* from, int64_t bytes);
};

// Does PanelTiles::multiples pay on this processor? AMD's Zen 4 multiplies in the two of four pipes that have the dot
// products and scales by powers of two in the other two; Intel's have two for everything.
bool has_pipes_beside_products();
// Does PanelTiles::in_order pay on this processor? On AMD's (Zen 4), for one token, by a sixth to a half; on Intel's
// (with AMX) asking for every line early is a tenth faster.
bool prefetches_what_is_in_order();
// The tables that this processor can run, best first; the last is scalar.
std::span<const PanelKernels* const> available_panel_kernels();
// The table with this name, or the best for an instruction set of find_kernels; empty: the best of all.
const PanelKernels& find_panel_kernels(std::string_view isa);
// The table with this name, or null.
const PanelKernels* named_panel_kernels(std::string_view name);

const PanelKernels& scalar_panels();
const PanelKernels& avx2_panels();
const PanelKernels& avxvnni_panels();
const PanelKernels& avx512vnni_panels();
const PanelKernels& amxint8_panels();
const PanelKernels& neon_panels();
const PanelKernels& neondot_panels();
const PanelKernels& neoni8mm_panels();

}  // namespace metallic::cpu

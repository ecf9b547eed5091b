// The product of quantised tokens with panels of weights (panels.h), for one x and one precision.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "backend/cpu/packed.h"
#include "backend/cpu/panels.h"
#include "backend/cpu/scratch.h"

namespace metallic::cpu {

// The rows of a target as panels.
struct TargetPanels {
  const LinearTarget* target;
  const PanelFormat* format;
  const PackedWeight* packed;  // or null: the format has no packed form
  int64_t count;
};

// How a product holds its tokens.
enum class TokenForm {
  kCodes,     // a row of codes for each
  kPairs,     // a second row beside each: what the first left, as if it were a token of its own. For few tokens
  kSeparate,  // such second rows in tiles of their own, without the groups in which they are nothing. For many
};

// What a row of codes leaves is taken up only in groups where that is much: an element's error is a sum over all
// groups, and a few outliers (groups with a large scale) make most of it. The bits of a result do not depend on the
// form.
class PanelProduct {
 public:
  // `precise`: with second rows.
  PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups, bool precise);

  // Memory of the quantised tokens.
  int64_t bytes() const;
  void set_memory(std::byte* memory);

  // The tokens are quantised tile by tile, by any thread.
  int64_t tiles() const { return tiles_; }
  void quantize(const TensorView& x, int64_t tile, Scratch& scratch) const;

  // Panels [first, first + count) of a target, count <= kernels.panels: its product with all tokens.
  void multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const;

 private:
  // Rows of codes, tile after tile.
  struct Rows {
    int8_t* codes = nullptr;
    TokenGroup* info = nullptr;
  };

  int64_t first_row(int64_t tile) const;
  // Where a tile's group lies among all (group, row of codes).
  int64_t position(int64_t tile, int64_t first_group) const;
  TokenTile tile(int64_t index, int64_t first_group) const;
  // The groups from `first_group` on, of a chunk at most, that second rows of a tile have: how many.
  TokenTile remainder_tile(int64_t index, int64_t first_group, int64_t& groups) const;
  int64_t chunks() const { return (groups_ + chunk_ - 1) / chunk_; }

  // What a row of codes leaves of x, where it is much, else zeros: (groups, 32). Marks these groups.
  void remainder(const float* x, int64_t row, int64_t rows, const Rows& of, float* out, uint8_t* marks) const;
  void quantize_remainder(int64_t tile, const float* rest, const uint8_t* marks) const;

  // These write the results too.
  void multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                       float* sums) const;
  void multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                         float* scratch, float* sums) const;
  void unpack_all(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                  int64_t first_group, int64_t groups, const UnpackedPanel& out) const;
  void unpack(const TargetPanels& panels, int64_t panel, int64_t first_group, int64_t groups,
              const UnpackedPanel& out) const;
  void prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const;
  void store(const TargetPanels& panels, int64_t panel, int64_t begin, int64_t end, float* sums, int64_t stride) const;

  const PanelKernels& kernels_;
  TokenForm form_;
  int64_t levels_;                              // rows of codes of a token that lie side by side
  int64_t count_;                               // rows of codes
  int64_t groups_, chunk_, tile_rows_, tiles_;  // chunk_: groups that are unpacked at a time
  Rows rows_, remainder_;               // the latter kSeparate only: of each chunk the marked groups, from its begin on
  uint8_t* columns_ = nullptr;          // (tiles, groups): which these are, within their chunk
  uint8_t* remainder_count_ = nullptr;  // (tiles, chunks): how many
};

}  // namespace metallic::cpu

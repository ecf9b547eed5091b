// The product of quantised tokens with panels of weights (panels.h), for one x and one precision.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/packed.h"
#include "backend/cpu/panels.h"
#include "backend/cpu/scratch.h"
#include "backend/strided.h"

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

  // Token t is row in_rows[t] of x, and its results go to row out_rows[t] of a target; null: row t.
  void set_rows(const int32_t* in_rows, const int32_t* out_rows) {
    in_rows_ = in_rows;
    out_rows_ = out_rows;
  }

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

  float* out_at(const TargetPanels& panels, int64_t token) const {
    return float_at(panels.target->out, out_rows_ != nullptr ? out_rows_[token] : token);
  }

  const PanelKernels& kernels_;
  const int32_t *in_rows_ = nullptr, *out_rows_ = nullptr;
  TokenForm form_;
  int64_t levels_;                              // rows of codes of a token that lie side by side
  int64_t count_;                               // rows of codes
  int64_t groups_, chunk_, tile_rows_, tiles_;  // chunk_: groups that are unpacked at a time
  Rows rows_, remainder_;               // the latter kSeparate only: of each chunk the marked groups, from its begin on
  uint8_t* columns_ = nullptr;          // (tiles, groups): which these are, within their chunk
  uint8_t* remainder_count_ = nullptr;  // (tiles, chunks): how many
};

// Products of some tokens each, with their targets. Work comes in units: as many panels as a kernel takes at once, of
// one target. Made to be filled again for every operation without allocating.
class PanelWork {
 public:
  void clear() {
    products_.clear();
    targets_.clear();
    tiles_ = units_ = 0;
  }
  // `rows` as PanelProduct::set_rows has them. Returns its number.
  size_t add_product(const PanelKernels& kernels, const TensorView& x, int64_t tokens, bool precise,
                     const int32_t* in_rows = nullptr, const int32_t* out_rows = nullptr);
  void add_target(const PanelKernels& kernels, size_t product, const LinearTarget& target);

  int64_t bytes() const;  // for the quantised tokens
  void set_memory(std::byte* memory);

  int64_t tiles() const { return tiles_; }
  void quantize(int64_t tile, Scratch& scratch) const;
  int64_t units() const { return units_; }
  void multiply(int64_t unit, Scratch& scratch) const;
  // All units are done.
  void finish() const;

 private:
  struct Product {
    PanelProduct product;
    TensorView x;
    int64_t first_tile;
  };
  struct Target {
    LinearTarget target;
    const PanelFormat* format;
    const PackedWeight* packed;
    int64_t panels, unit_panels, first_unit;
    size_t product;
  };
  std::vector<Product> products_;
  std::vector<Target> targets_;
  int64_t tiles_ = 0, units_ = 0;
};

}  // namespace metallic::cpu

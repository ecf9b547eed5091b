// The product of quantised tokens with panels of weights (panels.h), for one x.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
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

// The tokens of a product are codes, and second codes for what these leave in the groups that stand out of their row,
// which makes most of its error. Second codes are rows of their own, of each group those of the tokens that have some,
// so that they are multiplied in full tiles, and groups without any cost nothing.
class PanelProduct {
 public:
  PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups);

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
  void quantize(const TensorView& x, int64_t tile) const;
  // When all are: so many parts of their second codes are put together, by any thread.
  int64_t parts() const { return blocks() * chunks(); }
  void gather(int64_t part) const;

  // Panels [first, first + count) of a target: its product with all tokens. `first` is the first of a bundle.
  void multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const;

 private:
  // Rows of codes, tile after tile.
  struct Rows {
    int8_t* codes = nullptr;
    TokenGroup* info = nullptr;
  };

  int64_t first_row(int64_t tile) const;
  // Where a tile's group lies among all (group, token).
  int64_t position(int64_t tile, int64_t first_group) const;
  TokenTile tile(int64_t index, int64_t first_group) const;
  // These are about row number `row` of a tile with `rows` rows of codes, `of`.
  // Marks the groups that stand out.
  void mark(int64_t row, int64_t rows, const Rows& of, uint8_t* marks) const;
  // The second codes of the marked groups.
  void quantize_second(const float* x, int64_t tile, int64_t row, int64_t rows, const Rows& of,
                       const uint8_t* marks) const;
  int64_t blocks() const { return (tiles_ + block_tiles_ - 1) / block_tiles_; }
  int64_t chunks() const { return (groups_ + chunk_ - 1) / chunk_; }
  int64_t first_of_block(int64_t block) const { return first_row(block * block_tiles_); }
  // Where the second codes of a block's group lie among all.
  int64_t second_position(int64_t block, int64_t group) const;
  // The groups of a chunk of which tokens of a block have second codes.
  std::span<const int32_t> second_groups(int64_t block, int64_t chunk) const;
  bool has_seconds(int64_t block) const;

  // Those of one bundle or more, of `count` panels each; with second codes too if multiplies_both.
  void multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t count,
                       const PanelOutput& out) const;
  // Of panels [first, first + count) as many as can go from where they lie to the output; returns how many.
  int64_t multiply_in_place(const TargetPanels& panels, int64_t first, int64_t count) const;
  // The rest of what multiply_packed did with panels from `first` on: second codes, and the results. sums (tokens,
  // bundles * count * width), and room for seconds (tokens, count * width).
  void finish_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                     const UnpackedPanel& memory, const float* sums, float* seconds) const;
  // All of it, of one bundle.
  void multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                         const UnpackedPanel& memory, float* sums, float* seconds) const;
  // Sums go from the kernel of unpacked panels to the output.
  bool goes_directly(const TargetPanels& panels, int64_t first, int64_t count) const;
  // rest (tokens, panels * width) += the products of some groups with the second codes of a block's tokens. Of each of
  // `panels` groups [first_group, first_group + panel_groups) are there.
  void multiply_seconds(int64_t block, std::span<const int32_t> groups, const UnpackedPanel& panels,
                        int64_t first_group, int64_t panel_groups, DotListed dot, float* rest) const;
  void unpack_all(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                  int64_t first_group, int64_t groups, const UnpackedPanel& out) const;
  void unpack(const TargetPanels& panels, int64_t panel, int64_t first_group, int64_t groups,
              const UnpackedPanel& out) const;
  // Second codes are multiplied with the first: there is one token, and its panels are read in order.
  bool multiplies_both(const PanelFormat& format) const;
  // Zeros for the sums (tokens, width) of second codes.
  void clear_seconds(float* rest, int64_t width) const;
  void prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const;
  struct Sums {
    const float* first;
    int64_t stride;  // from a token's to the next's
  };
  void store(const TargetPanels& panels, int64_t first, int64_t count, int64_t begin, int64_t end, const Sums& sums,
             const float* seconds) const;

  // Rows of the target from panel `first` on, for the tokens whose results lie from row `token_row` of its output on.
  PanelOutput output(const TargetPanels& panels, int64_t first, int64_t token_row) const;
  int64_t out_row(int64_t token) const { return out_rows_ != nullptr ? out_rows_[token] : token; }

  const PanelKernels& kernels_;
  const int32_t *in_rows_ = nullptr, *out_rows_ = nullptr;
  int64_t count_;                               // of tokens
  int64_t groups_, chunk_, tile_rows_, tiles_;  // chunk_: groups that are unpacked at a time
  Rows rows_;
  // The second codes of some tiles' tokens, group by group: of so many tokens at once that most groups fill tiles.
  struct Seconds {
    Rows rows;                  // (blocks, groups, tokens of the block): first in the tokens' places, then those marked
    int32_t* tokens = nullptr;  // likewise: which tokens these are
    int32_t* counts = nullptr;  // (blocks, groups)
    int32_t* groups = nullptr;  // (blocks, groups): of each chunk those with a count, from its first group's place on
    int32_t* listed = nullptr;  // (blocks, chunks): how many these are
    uint8_t* marks = nullptr;   // (tokens, groups)
  } seconds_;
  int64_t block_tiles_;
};

// Products of some tokens each, with their targets. Work comes in units: as many panels as a kernel takes at once, of
// one target. Made to be filled again for every operation without allocating.
class PanelWork {
 public:
  void clear() {
    products_.clear();
    targets_.clear();
    tiles_ = parts_ = units_ = 0;
  }
  // `rows` as PanelProduct::set_rows has them. Returns its number.
  size_t add_product(const PanelKernels& kernels, const TensorView& x, int64_t tokens, const int32_t* in_rows = nullptr,
                     const int32_t* out_rows = nullptr);
  void add_target(const PanelKernels& kernels, size_t product, const LinearTarget& target);

  int64_t bytes() const;  // for the quantised tokens
  void set_memory(std::byte* memory);

  int64_t tiles() const { return tiles_; }
  void quantize(int64_t tile) const;
  // Then what PanelProduct::gather does.
  int64_t parts() const { return parts_; }
  void gather(int64_t part) const;
  int64_t units() const { return units_; }
  // So many units are worth the beginning of a range.
  int64_t least_range() const;
  // Before the first of a range of units.
  void fetch(int64_t unit) const;
  void multiply(int64_t begin, int64_t end, Scratch& scratch) const;
  // All units are done.
  void finish() const;

  // All of these on one thread.
  void run(Scratch& shared, Scratch& own);

 private:
  struct Product {
    PanelProduct product;
    TensorView x;
    int64_t first_tile, first_part;
  };
  struct Target {
    LinearTarget target;
    const PanelFormat* format;
    const PackedWeight* packed;
    int64_t panels, unit_panels, first_unit;
    size_t product;
  };
  // Of those in order the one that `number` is of, by the first number of each.
  template <class Owner>
  static const Owner& owner(const std::vector<Owner>& all, int64_t Owner::*first, int64_t number) {
    const auto after = std::upper_bound(all.begin(), all.end(), number,
                                        [&](int64_t wanted, const Owner& of) { return wanted < of.*first; });
    return *std::prev(after);
  }

  std::vector<Product> products_;
  std::vector<Target> targets_;
  int64_t tiles_ = 0, parts_ = 0, units_ = 0;
};

}  // namespace metallic::cpu

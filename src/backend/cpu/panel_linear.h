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

// Each token is `levels` (1 or 2) rows of codes: its numbers, and what these left, as if it were a token of its own.
class PanelProduct {
 public:
  PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups, int levels);

  // Memory of the quantised tokens.
  int64_t bytes() const { return count_ * groups_ * (kGroupColumns + int64_t(sizeof(TokenGroup))); }
  void set_memory(std::byte* memory);

  // The tokens are quantised tile by tile, by any thread.
  int64_t tiles() const { return tiles_; }
  void quantize(const TensorView& x, int64_t tile, Scratch& scratch) const;

  // Panels [first, first + count) of a target, count <= kernels.panels: its product with all tokens.
  void multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const;

 private:
  int64_t first_row(int64_t tile) const;
  TokenTile tile(int64_t index, int64_t first_group) const;
  // These write the results too.
  void multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                       float* sums) const;
  void multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                         float* scratch, float* sums) const;
  void unpack(const TargetPanels& panels, int64_t panel, int64_t first_group, int64_t groups,
              const UnpackedPanel& out) const;
  void prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const;
  void store(const TargetPanels& panels, int64_t panel, int64_t begin, int64_t end, float* sums, int64_t stride) const;

  const PanelKernels& kernels_;
  int levels_;
  int64_t count_;  // rows of codes
  int64_t groups_, tile_rows_, tiles_;
  int8_t* codes_ = nullptr;
  TokenGroup* info_ = nullptr;
};

}  // namespace metallic::cpu

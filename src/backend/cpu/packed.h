// Weights packed into panels, and the memory they lie in.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/cpu/panels.h"
#include "metallic/result.h"
#include "metallic/tensor.h"

namespace metallic::cpu {

// A matrix in panels of `width` rows, in bundles of as many as a kernel takes at once (PackedPanels).
//
// Packing is put off: memory is set aside at load, but a matrix that is used for the first time is packed bundle by
// bundle into a thread's cache, which costs no new page, and only the second use fills the memory. So the first token
// does not wait for the system to clear as many pages as the file has. The bits are the same.
class PackedWeight {
 public:
  PackedWeight(const PanelFormat& format, int width, int bundle, const TensorView& file,
               std::shared_ptr<const void> owner);

  int64_t bytes() const { return panels_ * format_.panel_bytes(groups_); }
  void set_memory(std::shared_ptr<uint8_t> memory) { memory_ = std::move(memory); }

  // Bundle `first` / bundle: its panels from `first` on, ready to be multiplied. `scratch` has room for bundle_bytes();
  // what is there is overwritten. Any thread, for another bundle each.
  PackedPanels panels(int64_t first, uint8_t* scratch) const;
  // All bundles are packed already.
  bool in_place() const { return uses_ >= kPackedForGood && memory_ != nullptr; }
  // Asks for the first bytes of that bundle: where nothing before it was read, nothing of it was fetched ahead.
  void fetch(int64_t first) const;
  int64_t bundle_bytes() const { return bundle_ * format_.panel_bytes(groups_); }
  // All bundles have been asked for once: the next use packs for good, the one after finds all done. One thread.
  void used() const;

 private:
  static constexpr int kPackedForGood = 2;  // uses

  // Of a bundle in memory_.
  uint8_t* place(int64_t first) const { return memory_.get() + first * format_.panel_bytes(groups_); }

  const PanelFormat& format_;
  int width_;
  int64_t bundle_, panels_, groups_;
  TensorView file_;
  mutable std::shared_ptr<const void> owner_;  // of the file's bytes; let go when all are packed
  mutable int uses_ = 0;
  std::shared_ptr<uint8_t> memory_;  // null: packed anew for every use
};

// What a matrix takes in panels of `width` rows.
inline uint64_t packed_bytes(const PanelFormat& format, int width, int64_t rows, int64_t columns) {
  return uint64_t((rows + width - 1) / width * format.panel_bytes(columns / kGroupColumns));
}

// Hands out memory for weights from large pieces in huge pages, so that walking through them costs few look-ups of
// addresses. Pages of which nothing is used any more go back to the system at once, so that less than two pages are
// lost for each weight that is there; addresses are not used again. One thread at a time, also to let go of weights.
class WeightArena {
 public:
  // Zeroed, at the start of a cache line, and not yet in real pages. kOutOfMemory says how much was wanted.
  Result<std::shared_ptr<uint8_t>> allocate(uint64_t bytes);

 private:
  struct Piece;
  static Result<std::shared_ptr<Piece>> map_piece(uint64_t bytes);
  std::shared_ptr<Piece> piece_;  // from which weights are given
};

}  // namespace metallic::cpu

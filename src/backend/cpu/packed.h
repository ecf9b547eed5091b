// Weights packed into panels, and the memory they lie in.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "backend/cpu/panels.h"
#include "metallic/result.h"

namespace metallic::cpu {

inline constexpr int64_t kPanelAlignment = 64;  // bytes: a cache line

// A matrix in panels of `width` rows, one after the other.
struct PackedWeight {
  const PanelFormat* format = nullptr;
  std::shared_ptr<const uint8_t> memory;
  int64_t panels = 0;
  int64_t groups = 0;       // of a row
  int64_t panel_bytes = 0;  // from one panel to the next, a multiple of a cache line

  const uint8_t* panel(int64_t index) const { return memory.get() + index * panel_bytes; }
};

// Of a matrix in panels of `width` rows.
inline uint64_t packed_bytes(const PanelFormat& format, int width, int64_t rows, int64_t columns) {
  const int64_t panel = (format.panel_bytes(columns / kGroupColumns) + kPanelAlignment - 1) / kPanelAlignment;
  return uint64_t((rows + width - 1) / width * panel * kPanelAlignment);
}

// Hands out memory for weights from large pieces in huge pages, so that walking through them costs few look-ups of
// addresses. A piece goes back to the system with the last of its weights.
class WeightArena {
 public:
  // Zeroed, at the start of a cache line. kOutOfMemory says how much was wanted.
  Result<std::shared_ptr<uint8_t>> allocate(uint64_t bytes);

 private:
  std::shared_ptr<uint8_t> piece_;
  uint64_t size_ = 0, used_ = 0;
};

}  // namespace metallic::cpu

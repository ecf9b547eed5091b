#include <algorithm>
#include <cstring>
#include <optional>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel_linear.h"
#include "backend/strided.h"

namespace metallic::cpu {
namespace {

// Room for the panels of one call of a kernel, kUnpackGroups groups each: codes, scales, offsets.
int64_t code_floats(const PanelKernels& kernels) {
  return kernels.panels * kUnpackGroups * kGroupColumns * kernels.width / int64_t(sizeof(float));
}
int64_t scale_floats(const PanelKernels& kernels) { return kernels.panels * kUnpackGroups * 2 * kernels.width; }

}  // namespace

PanelProduct::PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups, int levels)
    : kernels_(kernels),
      levels_(levels),
      count_(tokens * levels),
      groups_(groups),
      tile_rows_(kernels.tokens / levels * levels),
      tiles_(tile_count(count_, tile_rows_)) {
  // As many tiles as needed, of like size: a small one costs nearly as much as a full one.
  if (tiles_ > 0) tile_rows_ = round_up(tile_count(count_, tiles_), levels);
}

void PanelProduct::set_memory(std::byte* memory) {
  codes_ = reinterpret_cast<int8_t*>(memory);
  info_ = reinterpret_cast<TokenGroup*>(memory + count_ * groups_ * kGroupColumns);
}

int64_t PanelProduct::first_row(int64_t tile) const { return std::min(tile * tile_rows_, count_); }

TokenTile PanelProduct::tile(int64_t index, int64_t first_group) const {
  const int64_t first = first_row(index), rows = first_row(index + 1) - first;
  const int64_t at = first * groups_ + first_group * rows;
  return {codes_ + at * kGroupColumns, info_ + at};
}

void PanelProduct::quantize(const TensorView& x, int64_t index, Scratch& scratch) const {
  const int64_t first = first_row(index), rows = first_row(index + 1) - first, at = first * groups_;
  int8_t* codes = codes_ + at * kGroupColumns;
  TokenGroup* info = info_ + at;
  for (int64_t row = 0; row < rows; row += levels_) {
    const float* token = float_at(x, (first + row) / levels_);
    kernels_.quantize(token, groups_, int(row), int(rows), codes, info);
    if (levels_ == 1) continue;
    float* rest = scratch.floats(groups_ * kGroupColumns);
    kernels_.remainder(token, groups_, int(row), int(rows), codes, info, rest);
    kernels_.quantize(rest, groups_, int(row + 1), int(rows), codes, info);
  }
}

void PanelProduct::unpack(const TargetPanels& panels, int64_t panel, int64_t first_group, int64_t groups,
                          const UnpackedPanel& out) const {
  const TensorView& view = panels.target->weight->view;
  const int64_t row = panel * kernels_.width;
  const auto* rows = static_cast<const uint8_t*>(view.data) + row * view.stride[0];
  panels.format->unpack_rows(rows, view.stride[0], int(std::min<int64_t>(kernels_.width, view.shape[0] - row)),
                             first_group, groups, out);
}

void PanelProduct::multiply_packed(const TargetPanels& panels, const PackedPanels& packed, int64_t first, int64_t count,
                                   float* sums) const {
  const int64_t stride = count * kernels_.width;
  for (int64_t i = 0; i < tiles_; ++i)
    panels.format->dot[count][first_row(i + 1) - first_row(i)](packed, groups_, tile(i, 0),
                                                               sums + first_row(i) * stride);
  for (int64_t p = 0; p < count; ++p) store(panels, first + p, 0, count_, sums + p * kernels_.width, stride);
}

void PanelProduct::multiply_unpacked(const TargetPanels& panels, const PackedPanels& packed, int64_t first,
                                     int64_t count, float* scratch, float* sums) const {
  const int width = kernels_.width;
  const UnpackedPanel memory{reinterpret_cast<uint8_t*>(scratch), scratch + code_floats(kernels_),
                             scratch + code_floats(kernels_) + scale_floats(kernels_)};
  std::fill_n(sums, count_ * count * width, 0.0f);
  const auto& dots = kernels_.dot[panels.format->halves - 1][panels.format->has_offset][count];
  for (int64_t g = 0; g < groups_; g += kUnpackGroups) {
    const int64_t groups = std::min(kUnpackGroups, groups_ - g);
    for (int64_t p = 0; p < count; ++p) {
      const int64_t scales = p * groups * panels.format->halves * width;
      const UnpackedPanel to{memory.codes + p * groups * kGroupColumns * width, memory.scales + scales,
                             memory.offsets + scales};
      if (packed.first == nullptr)
        unpack(panels, first + p, g, groups, to);
      else
        panels.format->unpack({packed.first + p * panels.format->chunk_bytes, packed.stride}, g, groups, to);
    }
    const bool last = g + groups == groups_;
    for (int64_t i = 0; i < tiles_; ++i) {
      if (last) prefetch_out(panels, first, first_row(i + 1), first_row(i + 2));
      dots[first_row(i + 1) - first_row(i)](memory, groups, groups, tile(i, g), sums + first_row(i) * count * width);
      if (last)
        for (int64_t p = 0; p < count; ++p)
          store(panels, first + p, first_row(i), first_row(i + 1), sums + p * width, count * width);
    }
  }
}

// The lines of the output that the panels from `first` on will write for some rows of codes.
void PanelProduct::prefetch_out(const TargetPanels& panels, int64_t first, int64_t begin, int64_t end) const {
  constexpr int64_t kLineFloats = 16;
  const int64_t row = first * kernels_.width;
  for (int64_t t = begin / levels_; t < end / levels_; ++t) {
    const float* out = float_at(panels.target->out, t) + row;
    for (int64_t i = 0; i < kernels_.panels * kernels_.width; i += kLineFloats) __builtin_prefetch(out + i, 1);
  }
}

// What a panel gives for rows [begin, end) of codes; `sums` holds it for all, `stride` floats apart.
void PanelProduct::store(const TargetPanels& panels, int64_t panel, int64_t begin, int64_t end, float* sums,
                         int64_t stride) const {
  const LinearTarget& target = *panels.target;
  const int64_t row = panel * kernels_.width, rows = std::min<int64_t>(kernels_.width, target.weight->rows() - row);
  sums += begin * stride;
  for (int64_t t = begin / levels_; t < end / levels_; ++t, sums += levels_ * stride) {
    float* out = float_at(target.out, t) + row;
    if (levels_ == 2)
      for (int64_t r = 0; r < rows; ++r) sums[r] += sums[stride + r];
    if (target.bias == nullptr && !target.accumulate) {
      for (int64_t r = 0; r < rows; ++r) out[r] = sums[r];
      continue;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float value = target.bias != nullptr ? sums[r] + target.bias[row + r] : sums[r];
      out[r] = target.accumulate ? out[r] + value : value;
    }
  }
}

void PanelProduct::multiply(const TargetPanels& panels, int64_t first, int64_t count, Scratch& scratch) const {
  const int64_t width = kernels_.width, unpacked = code_floats(kernels_) + 2 * scale_floats(kernels_);
  // Rows that come and go (src/memory/) are packed anew each time: what is packed stays in the cache.
  std::optional<PackedWeight> passing;
  const PackedWeight* weight = panels.packed;
  if (weight == nullptr && panels.format->pack != nullptr)
    weight = &passing.emplace(*panels.format, kernels_.width, kernels_.panels, panels.target->weight->view, nullptr);
  const int64_t bundle = weight != nullptr ? round_up(weight->bundle_bytes(), 64) / int64_t(sizeof(float)) : 0;
  float* memory = scratch.floats(bundle + unpacked + count_ * kernels_.panels * width);
  float* sums = memory + bundle + unpacked;
  PackedPanels packed{nullptr, 0};
  if (weight != nullptr) {
    packed = weight->panels(first, reinterpret_cast<uint8_t*>(memory));
    if (tiles_ <= panels.format->packed_tiles) return multiply_packed(panels, packed, first, count, sums);
  }
  multiply_unpacked(panels, packed, first, count, memory + bundle, sums);
}

}  // namespace metallic::cpu

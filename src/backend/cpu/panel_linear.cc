// out = x * weight^T + bias for quantised weights: the tokens are quantised once for all targets, then each thread takes
// panels of rows.
//
// Floor: few tokens: the bytes of the panels over the memory's bandwidth. Many: 2 * rows * columns * tokens operations
// over the peak of the integer dot product.
#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/cpu.h"
#include "backend/cpu/packed.h"
#include "backend/strided.h"
#include "base/check.h"

namespace metallic::cpu {
namespace {

// Room for two panels of kUnpackGroups groups.
struct UnpackMemory {
  static int64_t code_bytes(int width) { return kUnpackGroups * kGroupColumns * width; }
  static int64_t scales(int width) { return kUnpackGroups * 2 * width; }
  static int64_t floats(int panels, int width) {
    return panels * (code_bytes(width) / int64_t(sizeof(float)) + 2 * scales(width));
  }
};

// All rows of the targets as panels, numbered through.
struct Panels {
  const LinearTarget* target;
  const PanelFormat* format;
  const PackedWeight* packed;  // or null: from the view's bytes
  int64_t first_unit;          // of work, see below
  int64_t count;               // panels of the target
};

class PanelProduct {
 public:
  PanelProduct(const PanelKernels& kernels, int64_t tokens, int64_t groups)
      : kernels_(kernels), count_(tokens), groups_(groups), tiles_(tile_count(tokens, kernels.tokens)) {}

  int64_t tiles() const { return tiles_; }
  int64_t first_token(int64_t tile) const { return tile_begin(count_, tiles_, tile); }
  int64_t codes_bytes() const { return count_ * groups_ * kGroupColumns; }
  int64_t info_bytes() const { return count_ * groups_ * int64_t(sizeof(TokenGroup)); }
  // The memory of the quantised tokens: codes_bytes() and behind them info_bytes().
  void set_memory(float* memory) {
    codes_ = reinterpret_cast<int8_t*>(memory);
    info_ = reinterpret_cast<TokenGroup*>(codes_ + codes_bytes());
  }
  void quantize(const TensorView& x, int64_t tile) const;

  // Floats that a thread needs.
  int64_t scratch_floats() const {
    return UnpackMemory::floats(kernels_.panels, kernels_.width) + count_ * kernels_.panels * kernels_.width;
  }
  // Panels [first, first + count), count <= kernels_.panels, of a target.
  void multiply(const Panels& panels, int64_t first, int64_t count, float* scratch) const;

 private:
  TokenTile tile(int64_t index, int64_t first_group) const {
    const int64_t first = first_token(index), tokens = first_token(index + 1) - first;
    const int64_t at = first * groups_ + first_group * tokens;
    return {codes_ + at * kGroupColumns, info_ + at};
  }
  void multiply_packed(const Panels& panels, int64_t panel, float* sums) const;
  void multiply_unpacked(const Panels& panels, int64_t first, int64_t count, float* scratch, float* sums) const;
  void unpack(const Panels& panels, int64_t panel, int64_t first_group, int64_t groups, const UnpackedPanel& out) const;
  void store(const Panels& panels, int64_t panel, const float* sums, int64_t stride) const;

  const PanelKernels& kernels_;
  int64_t count_, groups_, tiles_;
  int8_t* codes_ = nullptr;
  TokenGroup* info_ = nullptr;
};

void PanelProduct::quantize(const TensorView& x, int64_t index) const {
  const int64_t first = first_token(index), tokens = first_token(index + 1) - first, at = first * groups_;
  for (int64_t t = 0; t < tokens; ++t)
    kernels_.quantize(float_at(x, first + t), groups_, int(t), int(tokens), codes_ + at * kGroupColumns, info_ + at);
}

void PanelProduct::unpack(const Panels& panels, int64_t panel, int64_t first_group, int64_t groups,
                          const UnpackedPanel& out) const {
  if (panels.packed != nullptr)
    return panels.format->unpack(panels.packed->panel(panel), groups_, first_group, groups, out);
  const TensorView& view = panels.target->weight->view;
  const int64_t row = panel * kernels_.width;
  const auto* rows = static_cast<const uint8_t*>(view.data) + row * view.stride[0];
  panels.format->unpack_rows(rows, view.stride[0], int(std::min<int64_t>(kernels_.width, view.shape[0] - row)),
                             first_group, groups, out);
}

void PanelProduct::multiply_packed(const Panels& panels, int64_t panel, float* sums) const {
  for (int64_t i = 0; i < tiles_; ++i)
    panels.format->dot[first_token(i + 1) - first_token(i)](panels.packed->panel(panel), groups_, tile(i, 0),
                                                            sums + first_token(i) * kernels_.width);
}

void PanelProduct::multiply_unpacked(const Panels& panels, int64_t first, int64_t count, float* scratch,
                                     float* sums) const {
  const int width = kernels_.width;
  const UnpackedPanel memory{
      reinterpret_cast<uint8_t*>(scratch),
      scratch + kernels_.panels * UnpackMemory::code_bytes(width) / int64_t(sizeof(float)),
      scratch + kernels_.panels * (UnpackMemory::code_bytes(width) / int64_t(sizeof(float)) + UnpackMemory::scales(width))};
  std::fill_n(sums, count_ * count * width, 0.0f);
  const auto& dots = kernels_.dot[panels.format->halves - 1][panels.format->has_offset][count];
  for (int64_t g = 0; g < groups_; g += kUnpackGroups) {
    const int64_t groups = std::min(kUnpackGroups, groups_ - g);
    for (int64_t p = 0; p < count; ++p) {
      const int64_t scales = p * groups * panels.format->halves * width;
      unpack(panels, first + p, g, groups,
             {memory.codes + p * groups * kGroupColumns * width, memory.scales + scales, memory.offsets + scales});
    }
    for (int64_t i = 0; i < tiles_; ++i)
      dots[first_token(i + 1) - first_token(i)](memory, groups, groups, tile(i, g),
                                                sums + first_token(i) * count * width);
  }
}

// `sums` holds a panel's rows for each token, `stride` floats apart.
void PanelProduct::store(const Panels& panels, int64_t panel, const float* sums, int64_t stride) const {
  const LinearTarget& target = *panels.target;
  const int64_t row = panel * kernels_.width, rows = std::min<int64_t>(kernels_.width, target.weight->rows() - row);
  for (int64_t t = 0; t < count_; ++t, sums += stride) {
    float* out = float_at(target.out, t) + row;
    if (target.bias == nullptr && !target.accumulate) {
      std::memcpy(out, sums, size_t(rows) * sizeof(float));
      continue;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const float value = target.bias != nullptr ? sums[r] + target.bias[row + r] : sums[r];
      out[r] = target.accumulate ? out[r] + value : value;
    }
  }
}

void PanelProduct::multiply(const Panels& panels, int64_t first, int64_t count, float* scratch) const {
  const int64_t width = kernels_.width;
  float* sums = scratch + UnpackMemory::floats(kernels_.panels, kernels_.width);
  if (panels.packed != nullptr && tiles_ == 1) {
    for (int64_t p = 0; p < count; ++p) {
      multiply_packed(panels, first + p, sums);
      store(panels, first + p, sums, width);
    }
    return;
  }
  multiply_unpacked(panels, first, count, scratch, sums);
  for (int64_t p = 0; p < count; ++p) store(panels, first + p, sums + p * width, count * width);
}

}  // namespace

void CpuBackend::panel_linear(const LinearOp& op) {
  const int64_t count = op.x.shape[0], groups = op.x.shape[1] / kGroupColumns;
  PanelProduct product(panel_kernels_, count, groups);
  product.set_memory(shared_scratch_.floats((product.codes_bytes() + product.info_bytes()) / int64_t(sizeof(float))));
  for_rows(product.tiles(), op.x.shape[1] * panel_kernels_.tokens, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) product.quantize(op.x, tile);
  });

  // Units of work: as many panels as a kernel takes at once, of one target.
  std::array<Panels, kMaxTargets> targets;
  const int64_t unit_panels = panel_kernels_.panels;
  size_t used = 0;
  int64_t units = 0;
  for (const LinearTarget& target : op.targets) {
    METALLIC_CHECK(used < targets.size());
    const auto* packed = static_cast<const PackedWeight*>(target.weight->packed.get());
    targets[used++] = {&target, panel_kernels_.format(target.weight->view.format), packed, units,
                       tile_count(target.weight->rows(), panel_kernels_.width)};
    units += tile_count(targets[used - 1].count, unit_panels);
  }
  const auto multiply = [&](int64_t unit, int thread) {
    size_t i = 0;
    while (i + 1 < used && targets[i + 1].first_unit <= unit) ++i;
    const int64_t first = (unit - targets[i].first_unit) * unit_panels;
    product.multiply(targets[i], first, std::min(unit_panels, targets[i].count - first),
                     scratch_[size_t(thread)].floats(product.scratch_floats()));
  };
  if (product.tiles() > 1) return for_each_item(units, multiply);
  // One contiguous range of the weights for each thread, as the processor's own prefetching likes it.
  on_threads([&](int thread) {
    const int64_t threads = pool_.size();
    for (int64_t unit = tile_begin(units, threads, thread); unit < tile_begin(units, threads, thread + 1); ++unit)
      multiply(unit, thread);
  });
}

}  // namespace metallic::cpu

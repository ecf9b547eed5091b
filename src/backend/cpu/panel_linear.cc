// out = x * weight^T + bias for quantised weights: the tokens are quantised once for all targets, then each thread
// takes panels of rows.
//
// Floor: few tokens: the bytes of the panels over the memory's bandwidth. Many: 2 * rows * columns * tokens operations
// over the peak of the integer dot product.
#include "backend/cpu/panel_linear.h"

#include <algorithm>
#include <array>

#include "backend/cpu/cpu.h"
#include "base/check.h"

namespace metallic::cpu {
namespace {

// The targets of one operation: those that take the tokens as codes, and the precise ones. Work comes in units: as many
// panels as a kernel takes at once, of one target.
class Work {
 public:
  Work(const LinearOp& op, const PanelKernels& kernels)
      : unit_panels_(kernels.panels),
        products_{PanelProduct(kernels, op.x.shape[0], op.x.shape[1] / kGroupColumns, false),
                  PanelProduct(kernels, op.x.shape[0], op.x.shape[1] / kGroupColumns, true)} {
    for (const bool precise : {true, false})  // the expensive ones first
      for (const LinearTarget& target : op.targets)
        if (is_precise(target) == precise) add(target, kernels);
  }

  int64_t units() const { return first_unit_[count_]; }
  void multiply(int64_t unit, Scratch& scratch) const {
    size_t i = 0;
    while (first_unit_[i + 1] <= unit) ++i;
    const int64_t first = (unit - first_unit_[i]) * unit_panels_;
    products_[is_precise(*targets_[i].target)].multiply(targets_[i], first,
                                                        std::min(unit_panels_, targets_[i].count - first), scratch);
  }

  void finish() const {
    for (size_t i = 0; i < count_; ++i)
      if (targets_[i].packed != nullptr) targets_[i].packed->used();
  }

  // Memory for the quantised tokens, and their tiles.
  int64_t bytes() const {
    return sum_of([](const PanelProduct& product) { return product.bytes(); });
  }
  int64_t tiles() const {
    return sum_of([](const PanelProduct& product) { return product.tiles(); });
  }
  void set_memory(std::byte* memory) {
    for (size_t i = 0; i < products_.size(); ++i) {
      if (!used_[i]) continue;
      products_[i].set_memory(memory);
      memory += products_[i].bytes();
    }
  }
  void quantize(const TensorView& x, int64_t tile, Scratch& scratch) const {
    const int64_t plain = used_[0] ? products_[0].tiles() : 0;
    const bool precise = tile >= plain;
    products_[precise].quantize(x, precise ? tile - plain : tile, scratch);
  }

 private:
  static bool is_precise(const LinearTarget& target) { return target.precision == Precision::kDoubleCodes; }
  void add(const LinearTarget& target, const PanelKernels& kernels) {
    METALLIC_CHECK(count_ < targets_.size());
    used_[is_precise(target)] = true;
    const int64_t panels = tile_count(target.weight->rows(), kernels.width);
    targets_[count_] = {&target, kernels.format(target.weight->view.format),
                        static_cast<const PackedWeight*>(target.weight->packed.get()), panels};
    first_unit_[count_ + 1] = first_unit_[count_] + tile_count(panels, unit_panels_);
    ++count_;
  }
  template <class Count>
  int64_t sum_of(const Count& count) const {
    return (used_[0] ? count(products_[0]) : 0) + (used_[1] ? count(products_[1]) : 0);
  }

  int64_t unit_panels_;
  std::array<PanelProduct, 2> products_;  // plain, precise
  std::array<bool, 2> used_ = {};
  std::array<TargetPanels, kMaxTargets> targets_;
  std::array<int64_t, kMaxTargets + 1> first_unit_ = {};
  size_t count_ = 0;
};

}  // namespace

void CpuBackend::panel_linear(const LinearOp& op) {
  Work work(op, panel_kernels_);
  work.set_memory(reinterpret_cast<std::byte*>(shared_scratch_.floats(work.bytes() / int64_t(sizeof(float)))));
  const auto quantize = [&](int64_t tile, int thread) { work.quantize(op.x, tile, scratch_[size_t(thread)]); };
  constexpr int64_t kWorthAThread = 1 << 14;  // elements
  const bool one_thread = op.x.shape[0] * op.x.shape[1] < kWorthAThread;
  if (one_thread)
    for (int64_t tile = 0; tile < work.tiles(); ++tile) quantize(tile, 0);
  else
    for_each_item(work.tiles(), quantize);

  for_each_range(work.units(), [&](int64_t begin, int64_t end, int thread) {
    for (int64_t unit = begin; unit < end; ++unit) work.multiply(unit, scratch_[size_t(thread)]);
  });
  work.finish();
}

}  // namespace metallic::cpu

// out = x * weight^T + bias for quantised weights: the tokens are quantised once for all targets, then each thread
// takes panels of rows. Experts are many such products in one go.
//
// Floor: few tokens: the bytes of the panels over the memory's bandwidth. Many: 2 * rows * columns * tokens operations
// over the peak of the integer dot product.
#include "backend/cpu/panel_linear.h"

#include <algorithm>
#include <numeric>

#include "backend/cpu/cpu.h"

namespace metallic::cpu {

size_t PanelWork::add_product(const PanelKernels& kernels, const TensorView& x, int64_t tokens, const int32_t* in_rows,
                              const int32_t* out_rows) {
  products_.push_back({PanelProduct(kernels, tokens, x.shape[1] / kGroupColumns), x, tiles_, parts_});
  products_.back().product.set_rows(in_rows, out_rows);
  tiles_ += products_.back().product.tiles();
  parts_ += products_.back().product.parts();
  return products_.size() - 1;
}

void PanelWork::add_target(const PanelKernels& kernels, size_t product, const LinearTarget& target) {
  const int64_t panels = tile_count(target.weight->rows(), kernels.width);
  targets_.push_back({target, kernels.format(target.weight->view.format),
                      static_cast<const PackedWeight*>(target.weight->packed.get()), panels, kernels.panels, units_,
                      product});
  units_ += tile_count(panels, kernels.panels);
}

int64_t PanelWork::bytes() const {
  return std::accumulate(products_.begin(), products_.end(), int64_t{0},
                         [](int64_t sum, const Product& product) { return sum + product.product.bytes(); });
}

void PanelWork::set_memory(std::byte* memory) {
  for (Product& product : products_) {
    product.product.set_memory(memory);
    memory += product.product.bytes();
  }
}

void PanelWork::quantize(int64_t tile) const {
  const Product& product = owner(products_, &Product::first_tile, tile);
  product.product.quantize(product.x, tile - product.first_tile);
}

void PanelWork::gather(int64_t part) const {
  const Product& product = owner(products_, &Product::first_part, part);
  product.product.gather(part - product.first_part);
}

int64_t PanelWork::least_range() const {
  constexpr int64_t kBytes = 64 << 10;  // 2 to 4 us; the beginning costs 0.5 to 1 (AMD Zen 4, two threads)
  const bool few_tokens = tiles_ == int64_t(products_.size());
  if (!few_tokens || targets_.empty() || targets_[0].packed == nullptr) return 1;
  return tile_count(kBytes, targets_[0].packed->bundle_bytes());
}

void PanelWork::fetch(int64_t unit) const {
  const Target& target = owner(targets_, &Target::first_unit, unit);
  if (target.packed != nullptr) target.packed->fetch((unit - target.first_unit) * target.unit_panels);
}

void PanelWork::multiply(int64_t begin, int64_t end, Scratch& scratch) const {
  while (begin < end) {
    const Target& target = owner(targets_, &Target::first_unit, begin);
    const int64_t unit = begin - target.first_unit, units = tile_count(target.panels, target.unit_panels);
    const int64_t last = std::min(end - target.first_unit, units), first = unit * target.unit_panels;
    products_[target.product].product.multiply({&target.target, target.format, target.packed, target.panels}, first,
                                               std::min(last * target.unit_panels, target.panels) - first, scratch);
    begin = target.first_unit + last;
  }
}

void PanelWork::finish() const {
  for (const Target& target : targets_)
    if (target.packed != nullptr) target.packed->used();
}

void PanelWork::run(Scratch& shared, Scratch& own) {
  set_memory(reinterpret_cast<std::byte*>(shared.floats(tile_count(bytes(), int64_t(sizeof(float))))));
  for (int64_t tile = 0; tile < tiles_; ++tile) quantize(tile);
  for (int64_t part = 0; part < parts_; ++part) gather(part);
  multiply(0, units_, own);
  finish();
}

const PanelKernels& CpuBackend::panel_kernels(int64_t tokens, Format format) const {
  const bool many = many_kernels_.few != nullptr && tokens >= many_kernels_.many_tokens;
  return many && many_kernels_.format(format) != nullptr ? many_kernels_ : panel_kernels_;
}

void CpuBackend::panel_linear(const LinearOp& op) {
  // Targets share the tokens' codes, and so the kernels.
  const bool many = std::all_of(op.targets.begin(), op.targets.end(), [&](const LinearTarget& target) {
    return &panel_kernels(op.x.shape[0], target.weight->view.format) == &many_kernels_;
  });
  const PanelKernels& kernels = many ? many_kernels_ : panel_kernels_;
  panel_work_.clear();
  const size_t product = panel_work_.add_product(kernels, op.x, op.x.shape[0]);
  for (const LinearTarget& target : op.targets) panel_work_.add_target(kernels, product, target);
  run_panel_work(op.x.shape[0] * op.x.shape[1]);
}

bool CpuBackend::has_panels(std::span<const Weight> experts) const {
  return integers_ && std::all_of(experts.begin(), experts.end(), [&](const Weight& expert) {
           return panel_kernels_.format(expert.view.format) != nullptr;
         });
}

void CpuBackend::experts(const ExpertsOp& op) {
  has_panels(op.experts) ? panel_experts({&op, 1}) : HostBackend::experts(op);
}

// Gate and up take the same rows: at once, if their formats do.
void CpuBackend::expert_network(const ExpertNetworkOp& op) {
  const auto format = [](const ExpertsOp& part) { return part.experts.front().view.format; };
  const bool together = !op.gate.experts.empty() && format(op.gate) == format(op.up) && has_panels(op.gate.experts) &&
                        has_panels(op.up.experts);
  if (!together) return HostBackend::expert_network(op);
  const ExpertsOp parts[] = {op.gate, op.up};
  panel_experts(parts);
  activate(op.activate);
  experts(op.down);
}

// Operations that differ in experts, bias and output alone.
void CpuBackend::panel_experts(std::span<const ExpertsOp> ops) {
  const ExpertsOp& op = ops.front();
  expert_pairs_.sort(op);
  const std::vector<int32_t>& pairs = expert_pairs_.pairs;
  in_rows_ = pairs;
  if (!has_own_rows(op))
    for (int32_t& row : in_rows_) row /= op.used;
  panel_work_.clear();
  for (size_t expert = 0; expert < op.experts.size(); ++expert) {
    const int32_t first = expert_pairs_.first[expert], tokens = expert_pairs_.first[expert + 1] - first;
    if (tokens == 0) continue;
    const PanelKernels& kernels = panel_kernels(tokens, op.experts[expert].view.format);
    const size_t product =
        panel_work_.add_product(kernels, op.x, tokens, in_rows_.data() + first, pairs.data() + first);
    for (const ExpertsOp& each : ops) {
      const float* bias = each.bias != nullptr ? each.bias + int64_t(expert) * each.out.shape[1] : nullptr;
      panel_work_.add_target(kernels, product, {&each.experts[expert], bias, each.out, false});
    }
  }
  run_panel_work(int64_t(pairs.size()) * op.x.shape[1]);
}

void CpuBackend::run_panel_work(int64_t elements) {
  PanelWork& work = panel_work_;
  work.set_memory(
      reinterpret_cast<std::byte*>(shared_scratch_.floats(tile_count(work.bytes(), int64_t(sizeof(float))))));
  constexpr int64_t kWorthAThread = 1 << 14;  // elements to quantise; to gather, so many are little work
  const auto each = [&](int64_t count, int64_t least, const auto& job) {
    if (elements >= least) return for_each_item(count, [&](int64_t item, int) { job(item); });
    for (int64_t item = 0; item < count; ++item) job(item);
  };
  each(work.tiles(), kWorthAThread, [&](int64_t tile) { work.quantize(tile); });
  each(work.parts(), 16 * kWorthAThread, [&](int64_t part) { work.gather(part); });

  for_each_range(work.units(), work.least_range(), [&](int64_t begin, int64_t end, int thread, bool anew) {
    if (anew) work.fetch(begin);
    work.multiply(begin, end, scratch_[size_t(thread)]);
    if (many_kernels_.release != nullptr) many_kernels_.release();
  });
  work.finish();
}

}  // namespace metallic::cpu

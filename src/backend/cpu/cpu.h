// The backend for ordinary processors: all operations of backend.h with threads and vector instructions. Quantised
// weights are packed into panels (panels.h) when they are loaded, or used as the file has them.
//
// The results have the same bits for any number of threads and whatever else is in the batch: an element is always
// computed by one thread in one order, and where a long sum is cut, it is cut at the same places.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/attention_item.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/packed.h"
#include "backend/cpu/panel_linear.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/scratch.h"
#include "backend/cpu/share.h"
#include "backend/host_backend.h"
#include "backend/host_experts.h"

namespace metallic {

struct CpuOptions {
  const char* name = "cpu";
  int threads = 0;  // 0: one for each core
  // Forces an instruction set (scalar, avx2, avx512, avx512bf16, neon) or a table of panels.h; empty: the environment
  // variable METALLIC_ISA, and without that the best that this processor has.
  std::string_view isa = {};
  bool repack = true;    // pack weights at load; the results are the same
  bool integers = true;  // multiply quantised weights with tokens quantised to 8 bits; false: in float
};
Result<std::shared_ptr<Backend>> make_cpu_backend(const CpuOptions& options);

namespace cpu {

inline constexpr size_t kMaxTargets = 8;  // of one linear operation

constexpr int64_t round_up(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// `count` tokens spread evenly over tiles of at most `most`: how many tiles, and where the i-th begins.
constexpr int64_t tile_count(int64_t count, int64_t most) { return (count + most - 1) / most; }
constexpr int64_t tile_begin(int64_t count, int64_t tiles, int64_t tile) { return count * tile / tiles; }

class CpuBackend final : public HostBackend {
 public:
  CpuBackend(const CpuOptions& options, const Kernels& kernels, const PanelKernels& panel_kernels)
      : HostBackend(options.name, options.threads),
        kernels_(kernels),
        panel_kernels_(panel_kernels.few != nullptr ? *panel_kernels.few : panel_kernels),
        many_kernels_(panel_kernels),
        repack_(options.repack),
        integers_(options.integers),
        scratch_(size_t(pool_.size())),
        shares_(size_t(pool_.size())) {}

  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override;

  Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) override {
    return Weight{host, std::move(owner), nullptr};
  }

  bool adds_in_products() const override { return true; }

  void embed(const EmbedOp& op) override;
  void norm(const NormOp& op) override;
  void linear(const LinearOp& op) override;
  void experts(const ExpertsOp& op) override;
  void expert_network(const ExpertNetworkOp& op) override;
  void rope(const RopeOp& op) override;
  void store_kv(const StoreKvOp& op) override;
  void attention(const AttentionOp& op) override;
  void activate(const ActivateOp& op) override;
  void binary(const BinaryOp& op) override;
  void softmax(const TensorView& x, const TensorView& out) override;
  void matmul(const TensorView& a, const TensorView& b, const TensorView& out) override;
  void copy(const TensorView& from, const TensorView& to) override;
  void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) override;

  DeviceLimits measure_limits() override;  // limits.cc

 private:
  // From here on products use the tile sizes that are best on this processor; the first time they are measured.
  void tune();
  double measure_read();
  double measure_dot();
  // linear() for quantised weights in integers, and for all weights in float.
  void panel_linear(const LinearOp& op);
  bool has_panels(std::span<const Weight> experts) const;
  void panel_experts(std::span<const ExpertsOp> ops);
  const PanelKernels& panel_kernels(int64_t tokens, Format format) const;  // the best for a product
  void run_panel_work(int64_t elements);                                   // of all tokens
  void float_linear(const LinearOp& op);
  // For weights that are not quantised, from the file's bytes: with tokens as bfloat16 in so many levels, or as floats
  // (0), which takes few tokens and what multiplies_directly().
  void direct_linear(const LinearOp& op, int bfloat_levels);
  bool multiplies_directly(const LinearOp& op) const;

  // Calls job(thread) once on every thread.
  template <class Job>
  void on_threads(const Job& job) {
    const auto call = [&](int thread, int) { job(thread); };
    pool_.run(std::ref(call));
  }
  // Calls job(item, thread) for each item below `count`, each thread taking the next one when it is free.
  template <class Job>
  void for_each_item(int64_t count, const Job& job);
  // Calls job(begin, end, thread, anew) on ranges of the items below `count`, of at least `least` items if there are.
  // Each thread goes through a share of its own from the first item to the last, in ever shorter ranges, and then takes
  // the last half of what another has left; `anew`: the range does not follow the thread's range before.
  template <class Job>
  void for_each_range(int64_t count, int64_t least, const Job& job);
  // Calls job(begin, end) on ranges of `count` rows of `width` elements, on one thread if there is little to do.
  template <class Job>
  void for_rows(int64_t count, int64_t width, const Job& job);

  const Kernels& kernels_;
  PanelKernels panel_kernels_;
  bool tuned_ = false;
  const PanelKernels& many_kernels_;  // for products of many tokens; packed panels are the same
  bool repack_, integers_;
  WeightArena arena_;
  std::vector<Scratch> scratch_;  // one for each thread
  std::vector<Share> shares_;     // likewise
  Scratch shared_scratch_;        // what one operation's threads share
  RopeTables rope_tables_;
  // Kept so that no step allocates.
  std::vector<AttentionItem> attention_items_;
  std::vector<int64_t> attention_units_;  // of each item the first
  PanelWork panel_work_;
  ExpertPairs expert_pairs_;      // of experts()
  std::vector<int32_t> in_rows_;  // the rows of x that these pairs take
};

template <class Job>
void CpuBackend::for_each_item(int64_t count, const Job& job) {
  if (count <= 1 || pool_.size() == 1) {
    for (int64_t item = 0; item < count; ++item) job(item, 0);
    return;
  }
  std::atomic<int64_t> next{0};
  on_threads([&](int thread) {
    for (int64_t item = next.fetch_add(1, std::memory_order_relaxed); item < count;
         item = next.fetch_add(1, std::memory_order_relaxed))
      job(item, thread);
  });
}

template <class Job>
void CpuBackend::for_each_range(int64_t count, int64_t least, const Job& job) {
  if (count <= 1 || pool_.size() == 1) return job(0, count, 0, true);
  const int threads = pool_.size();
  for (int thread = 0; thread < threads; ++thread)
    shares_[size_t(thread)].set(tile_begin(count, threads, thread), tile_begin(count, threads, thread + 1));
  on_threads([&](int thread) {
    Share& own = shares_[size_t(thread)];
    for (;;) {
      int64_t begin, end;
      for (bool anew = true; own.take_first(least, begin, end); anew = false) job(begin, end, thread, anew);
      Share* most = &own;
      for (Share& share : shares_)
        if (share.left() > most->left()) most = &share;
      if (most == &own) return;
      if (most->take_last(least, begin, end)) own.set(begin, end);
    }
  });
}

template <class Job>
void CpuBackend::for_rows(int64_t count, int64_t width, const Job& job) {
  constexpr int64_t kWorthAThread = 1 << 14;  // elements
  const int64_t grain = width >= kWorthAThread ? 1 : kWorthAThread / (width > 0 ? width : 1);
  pool_.parallel_for(count, grain, std::ref(job));
}

// Lays one tile of rows out for DotTile: (steps, tokens, width), zeros after the last column.
// row(t) is the t-th of `tokens` rows of `columns` floats; out has room for tokens * round_up(columns, width).
template <class Row>
void interleave(const Row& row, int64_t tokens, int64_t columns, int64_t width, float* out) {
  for (int64_t t = 0; t < tokens; ++t) {
    const float* from = row(t);
    float* to = out + t * width;
    int64_t i = 0;
    for (; i + width <= columns; i += width, to += tokens * width)
      std::memcpy(to, from + i, size_t(width) * sizeof(float));
    if (i == columns) continue;
    std::memset(to, 0, size_t(width) * sizeof(float));
    std::memcpy(to, from + i, size_t(columns - i) * sizeof(float));
  }
}

}  // namespace cpu
}  // namespace metallic

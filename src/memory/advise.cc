// What would make the model faster: more of a tier, fewer bits a weight, a shorter context. Each is planned for.
#include <fmt/format.h>

#include <algorithm>

#include "memory/plan.h"

namespace metallic {
namespace {

constexpr double kWorthSaying = 1.05;
constexpr size_t kMostAdvice = 5;

class Adviser {
 public:
  Adviser(const ModelSizes& sizes, const Machine& machine, const Constraints& asked, const Plan& plan)
      : sizes_(sizes), machine_(machine), asked_(asked), plan_(plan) {}

  std::vector<Advice> all() {
    more_gpu_memory();
    more_ram();
    fewer_bits();
    less_cache();
    std::stable_sort(advice_.begin(), advice_.end(),
                     [](const Advice& a, const Advice& b) { return a.factor > b.factor; });
    if (advice_.size() > kMostAdvice) advice_.resize(kMostAdvice);
    return std::move(advice_);
  }

 private:
  void consider(std::string change, const ModelSizes& sizes, const Machine& machine, Constraints asked) {
    if (asked.context == 0) asked.context = plan_.context;
    const auto plan = make_plan(sizes, machine, asked);
    if (!plan) return;
    const double factor = plan_.request_seconds / plan->request_seconds;
    if (factor >= kWorthSaying) advice_.push_back({std::move(change), factor});
  }

  // All that is not there, and a quarter of it.
  template <class More>
  void consider_more(uint64_t missing, const char* of, const More& more) {
    if (missing == 0) return;
    for (const uint64_t bytes : {missing, missing / 4}) {
      Machine machine = machine_;
      Constraints asked = asked_;
      more(machine, asked, bytes);
      consider(fmt::format("{:.1f} GB more {}", double(bytes) / 1e9, of), sizes_, machine, asked);
    }
  }

  void more_gpu_memory() {
    if (!machine_.has_gpu || asked_.no_gpu) return;
    uint64_t missing =
        plan_.uses_gpu() ? plan_.ram.kv : plan_.ram.kv + plan_.ram.activations + machine_.gpu_context_bytes;
    for (size_t i = 0; i < plan_.places.size(); ++i)
      missing += uint64_t(double(1 - plan_.places[i].gpu) * double(sizes_.blocks[i].gpu_bytes));
    missing -= std::min(missing, plan_.gpu.budget - std::min(plan_.gpu.budget, plan_.gpu.total()));
    consider_more(missing, "GPU memory", [](Machine& machine, Constraints& asked, uint64_t bytes) {
      machine.gpu_bytes += bytes + bytes / 16;  // what the margin takes of it
      if (asked.gpu_bytes > 0) asked.gpu_bytes += bytes;
      asked.gpu_layers = -1;
    });
  }

  void more_ram() {
    uint64_t missing = 0;
    for (size_t i = 0; i < plan_.places.size(); ++i)
      if (plan_.places[i].disk)
        missing += uint64_t(double(1 - plan_.places[i].gpu) * double(sizes_.blocks[i].cpu_bytes));
    if (missing == 0) {  // room for all, and for what a GPU would be given of it
      for (const Block& block : sizes_.blocks)
        missing += block.cpu_bytes + (machine_.has_gpu && !asked_.no_gpu ? block.gpu_bytes : 0);
      const uint64_t others = plan_.ram.total() - plan_.ram.weights;
      missing -= std::min(missing, plan_.ram.budget - std::min(plan_.ram.budget, others));
    }
    consider_more(missing, "RAM", [](Machine& machine, Constraints& asked, uint64_t bytes) {
      machine.ram_bytes += bytes + bytes / 16;
      if (asked.ram_bytes > 0) asked.ram_bytes += bytes;
    });
  }

  void fewer_bits() {
    double weights = 0, bytes = 0;
    for (const Block& block : sizes_.blocks)
      if (block.operations > 0) weights += block.operations / 2, bytes += double(block.file_bytes);
    if (weights == 0) return;
    const double bits = 8 * bytes / weights;
    struct Type {
      const char* name;
      double bits;
    };
    for (const Type& type : {Type{"Q8_0", 8.5}, Type{"Q4_K_M", 4.85}}) {
      if (bits < 1.07 * type.bits) continue;
      ModelSizes smaller = sizes_;
      for (Block& block : smaller.blocks)
        for (uint64_t* part : {&block.file_bytes, &block.cpu_bytes, &block.gpu_bytes})
          *part = uint64_t(double(*part) * type.bits / bits);
      consider(fmt::format("{} instead of {:.1f} bits a weight", type.name, bits), smaller, machine_, asked_);
    }
  }

  void less_cache() {
    if (plan_.context >= 1024) {
      Constraints asked = asked_;
      asked.context = plan_.context / 2;
      consider(fmt::format("a context of {} instead of {}", asked.context, plan_.context), sizes_, machine_, asked);
    }
    ModelSizes smaller = sizes_;
    smaller.kv_token_bytes = sizes_.kv_token_bytes * 17 / 32;  // of F16, which is the usual type
    consider("a KV cache of about half the size (-ctk q8_0 -ctv q8_0)", smaller, machine_, asked_);
  }

  const ModelSizes& sizes_;
  const Machine& machine_;
  const Constraints& asked_;
  const Plan& plan_;
  std::vector<Advice> advice_;
};

}  // namespace

std::vector<Advice> advise(const ModelSizes& sizes, const Machine& machine, const Constraints& constraints,
                           const Plan& plan) {
  return Adviser(sizes, machine, constraints, plan).all();
}

}  // namespace metallic

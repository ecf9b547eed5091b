// What every backend on the host shares: its memory is ordinary memory, and it never works asynchronously.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"

namespace metallic {

class HostBackend : public Backend {
 public:
  HostBackend(std::string name, int threads) : pool_(threads), name_(std::move(name)) {}

  const std::string& name() const override { return name_; }
  int threads() const override { return pool_.size(); }
  Result<std::shared_ptr<void>> allocate(uint64_t bytes) override;  // aligned to 64 bytes
  void copy_from_host(void* to, const void* from, uint64_t bytes) override;
  void copy_to_host(void* to, const void* from, uint64_t bytes) override;
  Status synchronize() override { return {}; }
  bool holds_kv(Format) const override { return true; }

  // Written once for all backends on the host: little work, or made of their linear().
  void scale(const TensorView& x, float factor, float softcap) override;
  void route(const RouteOp& op) override;
  void experts(const ExpertsOp& op) override;
  void combine(const CombineOp& op) override;
  // The best alone; what draws, or changes logits first, is for the engine's own samplers.
  bool can_sample(const SampleRow& row) const override;
  void sample(const SampleOp& op) override;

 protected:
  ThreadPool pool_;

 private:
  std::string name_;
  // Of some logits, for sample(); kChooseOnHost if there is none.
  struct Best {
    float logit;
    int32_t id;
  };
  static Best best_of(const float* logits, int64_t begin, int64_t end);
  std::vector<Best> best_;

  std::vector<float> expert_rows_, expert_results_;  // of experts(): the rows of one expert, side by side
};

}  // namespace metallic

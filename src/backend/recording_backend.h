// A backend that hands everything on to another one and watches what the weights are multiplied with.
#pragma once

#include <unordered_map>
#include <vector>

#include "backend/forwarding_backend.h"

namespace metallic {

// Sums over all rows x that went through one matrix.
struct InputStatistics {
  std::vector<double> squares;  // (columns): sum of x^2
  uint64_t rows = 0;
};

// One thread at a time, as any backend. Its statistics are kept by the address of the matrix as it was given to
// load_weight(): that is what a caller who knows the file can name.
class RecordingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  // By host address; only matrices that took part in a linear().
  const std::unordered_map<const void*, InputStatistics>& statistics() const { return statistics_; }

  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override;
  // A tied embedding is multiplied, too: its address must be known.
  Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) override {
    return load_weight(host, std::move(owner));
  }
  void linear(const LinearOp& op) override;
  void experts(const ExpertsOp& op) override;

 private:
  // Adds a row of `columns` floats in the inner backend's memory to the statistics of the weight.
  void record(const Weight& weight, const float* row, int64_t columns);

  std::unordered_map<const void*, const void*> host_of_;  // loaded_address() -> address given to load_weight()
  std::unordered_map<const void*, InputStatistics> statistics_;
  std::vector<float> row_;
};

}  // namespace metallic

// A backend that hands everything on to another one and watches what the weights are multiplied with.
#pragma once

#include <unordered_map>
#include <vector>

#include "backend/backend.h"

namespace metallic {

// Sums over all rows x that went through one matrix.
struct InputStatistics {
  std::vector<double> squares;  // (columns): sum of x^2
  uint64_t rows = 0;
};

// One thread at a time, as any backend. Its statistics are kept by the address of the matrix as it was given to
// load_weight(): that is what a caller who knows the file can name.
class RecordingBackend final : public Backend {
 public:
  explicit RecordingBackend(std::shared_ptr<Backend> inner) : inner_(std::move(inner)) {}

  // By host address; only matrices that took part in a linear().
  const std::unordered_map<const void*, InputStatistics>& statistics() const { return statistics_; }

  const std::string& name() const override { return inner_->name(); }
  int threads() const override { return inner_->threads(); }
  Result<std::shared_ptr<void>> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  void copy_from_host(void* to, const void* from, uint64_t bytes) override { inner_->copy_from_host(to, from, bytes); }
  void copy_to_host(void* to, const void* from, uint64_t bytes) override { inner_->copy_to_host(to, from, bytes); }
  Status synchronize() override { return inner_->synchronize(); }

  bool holds_kv(Format format) const override { return inner_->holds_kv(format); }
  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override;
  void linear(const LinearOp& op) override;
  void experts(const ExpertsOp& op) override;

  void embed(const EmbedOp& op) override { inner_->embed(op); }
  void norm(const NormOp& op) override { inner_->norm(op); }
  void rope(const RopeOp& op) override { inner_->rope(op); }
  void store_kv(const StoreKvOp& op) override { inner_->store_kv(op); }
  void attention(const AttentionOp& op) override { inner_->attention(op); }
  void activate(const ActivateOp& op) override { inner_->activate(op); }
  void binary(const BinaryOp& op) override { inner_->binary(op); }
  void scale(const TensorView& x, float factor, float softcap) override { inner_->scale(x, factor, softcap); }
  void route(const RouteOp& op) override { inner_->route(op); }
  void combine(const CombineOp& op) override { inner_->combine(op); }
  void softmax(const TensorView& x, const TensorView& out) override { inner_->softmax(x, out); }
  void matmul(const TensorView& a, const TensorView& b, const TensorView& out) override { inner_->matmul(a, b, out); }
  void copy(const TensorView& from, const TensorView& to) override { inner_->copy(from, to); }
  void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) override {
    inner_->random_uniform(out, lo, hi, seed);
  }
  int logit_rows() const override { return inner_->logit_rows(); }
  bool can_sample(const SampleRow& row) const override { return inner_->can_sample(row); }
  void sample(const SampleOp& op) override;

 private:
  // Adds a row of `columns` floats in the inner backend's memory to the statistics of the weight.
  void record(const Weight& weight, const float* row, int64_t columns);

  std::shared_ptr<Backend> inner_;
  std::unordered_map<const void*, const void*> host_of_;  // loaded_address() -> address given to load_weight()
  std::unordered_map<const void*, InputStatistics> statistics_;
  std::vector<float> row_;
};

}  // namespace metallic

// A backend that hands every call on to another one: what stands in front of a backend overrides what it is about.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "backend/backend.h"

namespace metallic {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::shared_ptr<Backend> inner) : inner_(std::move(inner)) {}

  const std::string& name() const override { return inner_->name(); }
  int threads() const override { return inner_->threads(); }
  Result<std::shared_ptr<void>> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  void copy_from_host(void* to, const void* from, uint64_t bytes) override { inner_->copy_from_host(to, from, bytes); }
  void copy_to_host(void* to, const void* from, uint64_t bytes) override { inner_->copy_to_host(to, from, bytes); }
  Status synchronize() override { return inner_->synchronize(); }
  bool holds_kv(Format format) const override { return inner_->holds_kv(format); }
  bool adds_in_products() const override { return inner_->adds_in_products(); }
  Result<Weight> load_weight(const TensorView& host, std::shared_ptr<const void> owner) override {
    return inner_->load_weight(host, std::move(owner));
  }
  Result<Weight> load_plain(const TensorView& host, std::shared_ptr<const void> owner) override {
    return inner_->load_plain(host, std::move(owner));
  }

  void embed(const EmbedOp& op) override { inner_->embed(op); }
  void norm(const NormOp& op) override { inner_->norm(op); }
  void linear(const LinearOp& op) override { inner_->linear(op); }
  void rope(const RopeOp& op) override { inner_->rope(op); }
  void store_kv(const StoreKvOp& op) override { inner_->store_kv(op); }
  void attention(const AttentionOp& op) override { inner_->attention(op); }
  void activate(const ActivateOp& op) override { inner_->activate(op); }
  void binary(const BinaryOp& op) override { inner_->binary(op); }
  void scale(const TensorView& x, float factor, float softcap) override { inner_->scale(x, factor, softcap); }
  void route(const RouteOp& op) override { inner_->route(op); }
  void experts(const ExpertsOp& op) override { inner_->experts(op); }
  void combine(const CombineOp& op) override { inner_->combine(op); }
  void softmax(const TensorView& x, const TensorView& out) override { inner_->softmax(x, out); }
  void matmul(const TensorView& a, const TensorView& b, const TensorView& out) override { inner_->matmul(a, b, out); }
  void copy(const TensorView& from, const TensorView& to) override { inner_->copy(from, to); }
  void random_uniform(const TensorView& out, float lo, float hi, uint64_t seed) override {
    inner_->random_uniform(out, lo, hi, seed);
  }
  int logit_rows() const override { return inner_->logit_rows(); }
  bool can_sample(const SampleRow& row) const override { return inner_->can_sample(row); }
  // The head by the operations of this backend, whatever it makes of them.
  void sample(const SampleOp& op) override {
    SampleOp rest = op;
    if (op.head != nullptr) {
      linear({op.x, {op.head, 1}});
      if (op.scale != 1.0f || op.softcap > 0) scale(op.logits, op.scale, op.softcap);
      rest.head = nullptr;
    }
    inner_->sample(rest);
  }
  DeviceLimits measure_limits() override { return inner_->measure_limits(); }

 protected:
  std::shared_ptr<Backend> inner_;
};

}  // namespace metallic

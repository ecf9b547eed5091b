// A backend that hands everything on to another one and measures how long each operation takes.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "backend/forwarding_backend.h"

namespace metallic {

// All calls of one kind of operation; products with matrices of other shapes or formats are other kinds.
struct OperationTime {
  uint64_t calls = 0;
  double seconds = 0;
  double weight_bytes = 0;  // of the matrices that it read, as the file has them
  double operations = 0;    // multiplications and additions with weights
};

// Where the time went: each kind by what was done ("norm", "linear 2048 x 8192 + 8192, q4_0").
struct OperationTimes {
  std::map<std::string, OperationTime> kinds;
  double elapsed = 0;  // seconds from the begin of the first operation to the end of the last

  double between() const;  // seconds of these in which there was no operation
};

// For backends on the host; one thread at a time, as any backend.
class TimingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  const OperationTimes& times() const { return times_; }
  void clear() { times_ = {}; }

  void embed(const EmbedOp& op) override;
  void norm(const NormOp& op) override;
  void linear(const LinearOp& op) override;
  void rope(const RopeOp& op) override;
  void store_kv(const StoreKvOp& op) override;
  void attention(const AttentionOp& op) override;
  void activate(const ActivateOp& op) override;
  void binary(const BinaryOp& op) override;
  void scale(const TensorView& x, float factor, float softcap) override;
  void route(const RouteOp& op) override;
  void experts(const ExpertsOp& op) override;
  void combine(const CombineOp& op) override;
  void copy(const TensorView& from, const TensorView& to) override;
  void copy_to_host(void* to, const void* from, uint64_t bytes) override;

 private:
  using Clock = std::chrono::steady_clock;

  template <class Work>
  OperationTime& measure(const std::string& name, const Work& work);

  OperationTimes times_;
  Clock::time_point first_;
};

}  // namespace metallic

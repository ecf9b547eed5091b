// Mixtures whose experts are partly off the device: a step of few tokens has those multiplied by the host, from RAM or
// from disk; a longer one has experts in RAM copied, each once for all its tokens. Both sides work at the same time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "backend/transfers.h"
#include "memory/residency.h"

namespace metallic {

// Floats in pinned memory, as many as were wanted at most.
class PinnedFloats {
 public:
  Result<float*> get(Transfers& transfers, uint64_t count);
  bool holds(uint64_t count) const { return count <= count_; }

 private:
  std::shared_ptr<void> memory_;
  uint64_t count_ = 0;
};

// A bias of the device as the host sees it, fetched once.
class HostBiases {
 public:
  const float* get(Backend& device, const float* bias, int64_t count);

 private:
  std::unordered_map<const float*, std::vector<float>> values_;
};

// One thread at a time, the backend's.
class DeviceExperts {
 public:
  // `linear` multiplies on the device, whatever comes there by a ring.
  using Linear = std::function<void(const LinearOp&)>;
  DeviceExperts(Backend& device, Transfers& transfers, Residency& residency, Linear linear)
      : device_(device), transfers_(transfers), residency_(residency), linear_(std::move(linear)) {}

  // Other experts are going to be chosen.
  void forget_choice() { ids_from_ = nullptr; }
  // `few`: as the order of the ring was chosen for this step. kIo, kOutOfMemory: nothing more is computed.
  Status run(const ExpertsOp& op, bool few);
  // In a step of few tokens: what goes to the host goes there once, and its results come back once. False: nothing was
  // done, as an expert is partly the host's.
  Result<bool> run_network(const ExpertNetworkOp& op);

 private:
  Status fetch_choice(const ExpertsOp& op);
  Result<const float*> ask_for_input(const ExpertsOp& op);
  bool divide(const ExpertNetworkOp& op);
  Status run_network_on_host(const ExpertNetworkOp& op, const float* x, float* out);
  ExpertsOp for_device(const ExpertsOp& op);
  Status run_sorted(const ExpertsOp& op);
  Status gather(const TensorView& from, std::span<const int32_t> rows, const TensorView& to);
  ExpertsOp for_host(const ExpertsOp& op, const float* x, float* out);
  Status run_on_host(const ExpertsOp& op, const float* x, float* out);
  Status fetch_from_disk(const ExpertsOp& op, std::span<const int32_t> experts);
  std::span<const Weight> host_table(const ExpertsOp& op);
  void multiply_on_host(LinearOp op);
  void bring_back(const ExpertsOp& op, const float* out);

  Backend& device_;
  Transfers& transfers_;
  Residency& residency_;
  Linear linear_;
  std::optional<Error> failure_;
  const int32_t* ids_from_ = nullptr;  // of the device, which these are:
  std::vector<int32_t> ids_;           // (rows * used)
  std::vector<int32_t> host_ids_;      // the same, or -1 where the device multiplies
  std::unordered_map<const Weight*, std::vector<Weight>> stand_ins_, host_tables_;
  PinnedFloats pinned_ids_, pinned_x_, pinned_out_;
  HostBiases biases_;
  std::shared_ptr<void> sorted_memory_[2];  // x and results, on the device
  uint64_t sorted_bytes_[2] = {0, 0};
  std::vector<float> inputs_, outputs_;
  std::vector<float> host_gate_, host_up_;  // of a network, in host memory
};

}  // namespace metallic

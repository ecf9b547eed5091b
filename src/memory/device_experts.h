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
#include "memory/host_worker.h"
#include "memory/residency.h"

namespace metallic {

// Floats in pinned memory, as many as were wanted at most.
class PinnedFloats {
 public:
  // What was there before is gone where it was too small. A worker that may be at it is waited for.
  Result<float*> get(Transfers& transfers, uint64_t count);
  Result<float*> get(Transfers& transfers, HostWorker& worker, uint64_t count);

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
  DeviceExperts(Backend& device, Transfers& transfers, HostWorker& worker, Residency& residency, Linear linear)
      : device_(device), transfers_(transfers), worker_(worker), residency_(residency), linear_(std::move(linear)) {}

  // Other experts are going to be chosen.
  void forget_choice() { ids_from_ = nullptr; }
  // `few`: as the order of the ring was chosen for this step. kIo, kOutOfMemory: nothing more is computed. The worker
  // has nothing to do.
  Status run(const ExpertsOp& op, bool few);
  // In a step of few tokens: the choice and its input are handed over to the worker, and its results come back once.
  // False: nothing was done, as an expert is partly the host's, or may have to be read: that may take long, and a
  // kernel that waits for long is ended where a display hangs on the GPU.
  Result<bool> run_network(const ExpertNetworkOp& op);
  // The first of the worker since the last call. The worker has nothing to do.
  Status take_failure();

 private:
  Status fetch_choice(const ExpertsOp& op);
  Result<const float*> ask_for_input(const ExpertsOp& op);
  // Who has the experts of a network: each expert one of both, and the host its own in RAM, or not.
  struct Owners {
    bool simple = true, any_resident = false;
  };
  Owners owners_of(const ExpertNetworkOp& op);
  struct HandOver {
    ExpertNetworkOp op;        // biases in host memory
    const float* x = nullptr;  // all in pinned memory
    const int32_t* ids = nullptr;
    float* out = nullptr;
    int32_t* wanted = nullptr;  // results, of the choices
  };
  Result<HandOver> hand_over(const ExpertNetworkOp& op);
  Status work(const HandOver& given);
  void divide(std::span<const Weight> experts, bool few);
  void with_host_bias(ExpertsOp& op);
  void set_choice(const int32_t* ids, const ExpertsOp& op);
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
  HostWorker& worker_;
  Residency& residency_;
  Linear linear_;
  std::optional<Error> failure_, worker_failure_;
  const int32_t* ids_from_ = nullptr;  // of the device, which these are:
  std::vector<int32_t> ids_;           // (rows * used)
  std::vector<int32_t> host_ids_;      // the same, or -1 where the device multiplies
  std::unordered_map<const Weight*, std::vector<Weight>> stand_ins_, host_tables_;
  std::unordered_map<const Weight*, Owners> owners_;
  PinnedFloats pinned_ids_, pinned_x_, pinned_out_, pinned_wanted_;
  HostBiases biases_;
  std::shared_ptr<void> sorted_memory_[2];  // x and results, on the device
  uint64_t sorted_bytes_[2] = {0, 0};
  std::vector<float> inputs_, outputs_;
  std::vector<float> host_gate_, host_up_;  // of a network, in host memory
};

}  // namespace metallic

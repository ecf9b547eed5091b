// Few numbers from the device to pinned memory of the host, by a kernel: between two graphs it is sooner done than by
// the copy engine.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <span>

#include "backend/cuda/stream.h"
#include "backend/run_ahead.h"

namespace metallic::cuda {

// `to`: as the device sees the host's memory.
void launch_fetch(const int32_t* from, int count, int32_t* to, cudaStream_t stream);

class Fetches {
 public:
  ~Fetches();
  // Both keep failures in the stream.
  void start(const int32_t* from, int count, Stream& stream);
  void finish(std::span<int32_t> to, Stream& stream);  // of the oldest

 private:
  struct Slot {
    int32_t* host = nullptr;  // pinned, (RunAhead::kMostRows)
    cudaEvent_t done = nullptr;
  };
  static bool prepare(Slot& slot, Stream& stream);

  std::array<Slot, RunAhead::kMostFetches> slots_;
  int first_ = 0, count_ = 0;
};

}  // namespace metallic::cuda

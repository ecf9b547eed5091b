// Hand-overs to the host: the device counts those that it has come to, the host those that it has answered, both in
// pinned memory, so that neither asks the driver.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "backend/cuda/queue.h"

namespace metallic::cuda {

class HandOvers {
 public:
  static Result<std::unique_ptr<HandOvers>> open(std::shared_ptr<Queue> queue);
  ~HandOvers();  // waits for the device
  HandOvers(const HandOvers&) = delete;
  HandOvers& operator=(const HandOvers&) = delete;

  // As in Transfers.
  uint64_t ask();
  bool is_asked(uint64_t number) const {
    return counter(asked_).load(std::memory_order_acquire) >= number || given_up_ >= number;
  }
  void answer(uint64_t number) { counter(answered_).store(number, std::memory_order_release); }
  void wait_for_answer(uint64_t number);

 private:
  explicit HandOvers(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  static std::atomic_ref<uint64_t> counter(uint64_t* at) { return std::atomic_ref<uint64_t>(*at); }

  std::shared_ptr<Queue> queue_;
  uint64_t* asked_ = nullptr;     // in pinned memory,
  uint64_t* answered_ = nullptr;  // each in a cache line of its own
  uint64_t last_ = 0;
  std::atomic<uint64_t> given_up_ = 0;  // the last that the device was not told of, after a failure
};

}  // namespace metallic::cuda

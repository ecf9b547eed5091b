// Copies beside the computing: a stream of their own, and events between it and the stream of the operations.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <functional>
#include <memory>

#include "backend/cuda/queue.h"
#include "backend/transfers.h"

namespace metallic::cuda {

// Events used in turn. A number is good for the last kEvents of them: for an older one, a later one is waited for.
class CopyStream {
 public:
  static Result<std::unique_ptr<CopyStream>> open(std::shared_ptr<Queue> queue);
  ~CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  uint64_t mark();
  uint64_t copy(void* to, const void* from, uint64_t bytes, uint64_t after);
  // With what `then` launches on the stream behind it.
  uint64_t copy(void* to, const void* from, uint64_t bytes, uint64_t after,
                const std::function<void(cudaStream_t)>& then);
  bool is_done(uint64_t copy);
  void finish(uint64_t copy);
  void wait_for(uint64_t copy);
  void defer(bool deferred);

 private:
  static constexpr uint64_t kEvents = 256;
  explicit CopyStream(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {}
  // At once, or in its place among the commands.
  void put(std::function<void()> act);
  cudaEvent_t& event_of(std::array<cudaEvent_t, kEvents>& events, uint64_t number) { return events[number % kEvents]; }

  std::shared_ptr<Queue> queue_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, kEvents> marks_ = {}, copies_ = {};
  uint64_t last_mark_ = 0, last_copy_ = 0;
  uint64_t last_started_ = 0;  // of the copies
  bool deferred_ = false;
};

}  // namespace metallic::cuda

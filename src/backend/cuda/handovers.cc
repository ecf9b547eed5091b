#include "backend/cuda/handovers.h"

#include <cstring>

#include "backend/cuda/launch.h"
#include "backend/cuda/status.h"

namespace metallic::cuda {

Result<std::unique_ptr<HandOvers>> HandOvers::open(std::shared_ptr<Queue> queue) {
  constexpr size_t kApart = 256;  // bytes
  (void)cudaSetDevice(queue->stream().device());
  void* memory = nullptr;
  if (const cudaError_t error = cudaMallocHost(&memory, 2 * kApart); error != cudaSuccess) {
    (void)cudaGetLastError();
    return device_error(error, "allocating pinned memory for hand-overs to the host");
  }
  std::memset(memory, 0, 2 * kApart);
  std::unique_ptr<HandOvers> handovers(new HandOvers(std::move(queue)));
  handovers->asked_ = static_cast<uint64_t*>(memory);
  handovers->answered_ = handovers->asked_ + kApart / sizeof(uint64_t);
  return handovers;
}

HandOvers::~HandOvers() {
  (void)cudaSetDevice(queue_->stream().device());
  (void)cudaStreamSynchronize(queue_->stream().get());
  (void)cudaFreeHost(asked_);
}

uint64_t HandOvers::ask() {
  const uint64_t number = ++last_;
  queue_->launch_behind("handing over to the host", [&](cudaStream_t stream) { launch_ask(asked_, number, stream); });
  if (queue_->stream().failed()) given_up_ = number;
  return number;
}

void HandOvers::wait_for_answer(uint64_t number) {
  queue_->launch_behind("waiting for the host",
                        [&](cudaStream_t stream) { launch_wait_for_answer(answered_, number, stream); });
}

}  // namespace metallic::cuda

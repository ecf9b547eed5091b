#include "backend/cuda/fetch.h"

#include <algorithm>

#include "base/check.h"

namespace metallic::cuda {

Fetches::~Fetches() {
  for (Slot& slot : slots_) {
    if (slot.done != nullptr) (void)cudaEventSynchronize(slot.done), (void)cudaEventDestroy(slot.done);
    (void)cudaFreeHost(slot.host);
  }
}

bool Fetches::prepare(Slot& slot, Stream& stream) {
  constexpr size_t kBytes = RunAhead::kMostRows * sizeof(int32_t);
  if (slot.host == nullptr &&
      !stream.check(cudaMallocHost(reinterpret_cast<void**>(&slot.host), kBytes), "allocating pinned memory")) {
    slot.host = nullptr;
    return false;
  }
  return slot.done != nullptr ||
         stream.check(cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming), "creating an event");
}

void Fetches::start(const int32_t* from, int count, Stream& stream) {
  METALLIC_CHECK(count_ < RunAhead::kMostFetches && count <= RunAhead::kMostRows);
  Slot& slot = slots_[size_t((first_ + count_++) % RunAhead::kMostFetches)];
  if (stream.failed() || !prepare(slot, stream)) return;
  launch_fetch(from, count, slot.host, stream.get());
  stream.check(cudaGetLastError(), "launching a kernel");
  stream.check(cudaEventRecord(slot.done, stream.get()), "bringing choices to the host");
}

void Fetches::finish(std::span<int32_t> to, Stream& stream) {
  METALLIC_CHECK(count_ > 0 && to.size() <= size_t(RunAhead::kMostRows));
  Slot& slot = slots_[size_t(first_)];
  first_ = (first_ + 1) % RunAhead::kMostFetches;
  --count_;
  if (slot.done == nullptr) return;  // after a failure
  stream.check(cudaEventSynchronize(slot.done), "computing");
  std::copy_n(slot.host, to.size(), to.begin());
}

}  // namespace metallic::cuda

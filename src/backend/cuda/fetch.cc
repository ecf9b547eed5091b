#include "backend/cuda/fetch.h"

#include <algorithm>

#include "backend/cuda/status.h"
#include "base/check.h"

namespace metallic::cuda {

Result<std::unique_ptr<Fetches>> Fetches::create() {
  std::unique_ptr<Fetches> fetches(new Fetches);
  for (Slot& slot : fetches->slots_) {
    cudaError_t error = cudaMallocHost(reinterpret_cast<void**>(&slot.host), RunAhead::kMostRows * sizeof(int32_t));
    if (error == cudaSuccess) error = cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming);
    if (error == cudaSuccess) continue;
    (void)cudaGetLastError();
    return device_error(error, "allocating pinned memory");
  }
  return fetches;
}

Fetches::~Fetches() {
  for (Slot& slot : slots_) {
    if (slot.done != nullptr) (void)cudaEventSynchronize(slot.done), (void)cudaEventDestroy(slot.done);
    (void)cudaFreeHost(slot.host);
  }
}

void Fetches::start(const int32_t* from, int count, Stream& stream) {
  METALLIC_CHECK(count_ < RunAhead::kMostFetches && count <= RunAhead::kMostRows);
  Slot& slot = slots_[size_t((first_ + count_++) % RunAhead::kMostFetches)];
  if (stream.failed()) return;
  launch_fetch(from, count, slot.host, stream.get());
  stream.check(cudaGetLastError(), "launching a kernel");
  stream.check(cudaEventRecord(slot.done, stream.get()), "bringing choices to the host");
}

void Fetches::finish(std::span<int32_t> to, Stream& stream) {
  METALLIC_CHECK(count_ > 0 && to.size() <= size_t(RunAhead::kMostRows));
  Slot& slot = slots_[size_t(first_)];
  first_ = (first_ + 1) % RunAhead::kMostFetches;
  --count_;
  stream.check(cudaEventSynchronize(slot.done), "computing");
  std::copy_n(slot.host, to.size(), to.begin());
}

}  // namespace metallic::cuda

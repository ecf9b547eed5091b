#include "backend/cuda/transfers.h"

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/fast.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/planes.h"
#include "backend/cuda/status.h"
#include "base/check.h"
#include "base/error.h"

namespace metallic::cuda {
namespace {

constexpr uint64_t padded(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

// Offsets of the planes; none for a format that stays in blocks.
std::optional<PlaneSizes> sizes_of(const TensorView& host, bool planes) {
  PlaneSizes sizes;
  const bool has = planes && host.shape.elements() > 0 &&
                   visit_planes(host.format, [&]<class P>(P) { sizes = plane_sizes<P>(host.shape[0], host.shape[1]); });
  if (!has) return std::nullopt;
  return sizes;
}

}  // namespace

Result<std::unique_ptr<CopyStream>> CopyStream::open(std::shared_ptr<Queue> queue) {
  std::unique_ptr<CopyStream> copies(new CopyStream(std::move(queue)));
  (void)cudaSetDevice(copies->queue_->stream().device());
  cudaError_t error = cudaStreamCreateWithFlags(&copies->stream_, cudaStreamNonBlocking);
  for (auto* events : {&copies->marks_, &copies->copies_})
    for (cudaEvent_t& event : *events)
      if (error == cudaSuccess) error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (error == cudaSuccess) return copies;
  (void)cudaGetLastError();
  return device_error(error, "opening a stream for copies");
}

CopyStream::~CopyStream() {
  queue_->flush();  // points refer to this
  (void)cudaSetDevice(queue_->stream().device());
  if (stream_ != nullptr) {
    (void)cudaStreamSynchronize(stream_);
    (void)cudaStreamDestroy(stream_);
  }
  for (auto* events : {&marks_, &copies_})
    for (cudaEvent_t event : *events)
      if (event != nullptr) (void)cudaEventDestroy(event);
}

void CopyStream::defer(bool deferred) {
  if (deferred_ && !deferred) queue_->flush();
  deferred_ = deferred;
}

void CopyStream::put(std::function<void()> act) {
  if (deferred_)
    queue_->add_point(std::move(act));
  else
    act();
}

uint64_t CopyStream::mark() {
  if (!deferred_) queue_->flush();
  put([this, number = ++last_mark_] {
    queue_->stream().check(cudaEventRecord(event_of(marks_, number), queue_->stream().get()), "marking a point");
  });
  return last_mark_;
}

uint64_t CopyStream::copy(void* to, const void* from, uint64_t bytes, uint64_t after) {
  return copy(to, from, bytes, after, nullptr);
}

uint64_t CopyStream::copy(void* to, const void* from, uint64_t bytes, uint64_t after,
                          const std::function<void(cudaStream_t)>& then) {
  put([this, to, from, bytes, after, then, number = ++last_copy_] {
    Stream& stream = queue_->stream();
    if (after > 0)
      stream.check(cudaStreamWaitEvent(stream_, event_of(marks_, after)), "waiting before a copy of weights");
    stream.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying weights to the GPU");
    if (then && !stream.failed()) {
      then(stream_);
      stream.check(cudaGetLastError(), "bringing weights into their layout");
    }
    stream.check(cudaEventRecord(event_of(copies_, number), stream_), "copying weights to the GPU");
    last_started_ = number;
  });
  return last_copy_;
}

void CopyStream::wait_for(uint64_t copy) {
  if (!deferred_) queue_->flush();
  put([this, copy] {
    Stream& stream = queue_->stream();
    stream.check(cudaStreamWaitEvent(stream.get(), event_of(copies_, copy)), "waiting for weights");
  });
}

// A stream that has failed is not asked: nothing more is going to arrive.
bool CopyStream::is_done(uint64_t copy) {
  if (queue_->stream().failed()) return true;
  if (copy > last_started_) return false;
  const cudaError_t state = cudaEventQuery(event_of(copies_, copy));
  if (state == cudaErrorNotReady) return false;
  queue_->stream().check(state, "copying weights to the GPU");
  return true;
}

void CopyStream::finish(uint64_t copy) {
  if (copy > last_started_) queue_->flush();
  queue_->stream().check(cudaEventSynchronize(event_of(copies_, copy)), "copying weights to the GPU");
}

Result<std::shared_ptr<void>> CudaBackend::allocate_pinned(uint64_t bytes) {
  (void)cudaSetDevice(queue_->stream().device());
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, bytes == 0 ? 1 : bytes);
  if (error == cudaSuccess) {
    // What was copied from it must have arrived before it goes.
    return std::shared_ptr<void>(memory, [queue = queue_](void* p) {
      (void)cudaDeviceSynchronize();
      (void)cudaFreeHost(p);
    });
  }
  (void)cudaGetLastError();
  if (error != cudaErrorMemoryAllocation)
    return device_error(error, fmt::format("allocating {} bytes of pinned memory", bytes));
  return fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes of pinned memory for weights: {}", bytes,
              cudaGetErrorString(error));
}

uint64_t CudaBackend::packed_bytes(const TensorView& host) const {
  const std::optional<PlaneSizes> sizes = sizes_of(host, !reproducible_);
  return padded(sizes ? sizes->total : uint64_t(host.shape[0] * host.stride[0]));
}

Status CudaBackend::pack(const TensorView& host, void* to) {
  METALLIC_ASSIGN(const Weight weight, load_weight(host, nullptr));
  const auto* loaded = static_cast<const LoadedWeight*>(weight.packed.get());
  METALLIC_CHECK(loaded->memory != nullptr);
  const std::optional<PlaneSizes> sizes = sizes_of(host, !reproducible_);
  const uint64_t bytes = sizes ? sizes->total : uint64_t(host.shape[0] * host.stride[0]);
  Stream& stream = queue_->stream();
  stream.check(cudaMemcpyAsync(to, loaded->memory.get(), bytes, cudaMemcpyDeviceToHost, stream.get()),
               "bringing weights into their layout");
  return stream.synchronize("bringing weights into their layout");
}

Weight CudaBackend::unplaced(const TensorView& host) const {
  auto loaded = std::make_shared<LoadedWeight>();
  loaded->ref.rows = int32_t(host.shape[0]);
  loaded->ref.columns = int32_t(host.shape[1]);
  loaded->ref.format = host.format;
  loaded->ref.row_bytes = host.stride[0];
  loaded->ref.layout = sizes_of(host, !reproducible_) ? Layout::kPlanes : Layout::kBlocks;
  Weight weight;
  weight.view = host;
  weight.view.data = nullptr;
  weight.packed = std::move(loaded);
  return weight;
}

void CudaBackend::place(const Weight& weight, void* device_memory) {
  // The backend's own: handed out as constant so that nobody else changes it.
  auto& ref = const_cast<LoadedWeight*>(static_cast<const LoadedWeight*>(weight.packed.get()))->ref;
  const auto* memory = static_cast<const uint8_t*>(device_memory);
  ref.codes = memory;
  if (const std::optional<PlaneSizes> sizes = sizes_of(weight.view, ref.layout == Layout::kPlanes)) {
    ref.high = memory + sizes->high;
    ref.scales = memory + sizes->scales;
    ref.supers = memory + sizes->supers;
  }
}

// Opened with the first use: most backends never copy beside their computing.
template <class T>
T* CudaBackend::opened(std::unique_ptr<T>& one) {
  if (one == nullptr) {
    auto opened = T::open(queue_);
    if (!opened) {
      queue_->stream().keep(opened.error());
      return nullptr;
    }
    one = std::move(*opened);
  }
  return one.get();
}
CopyStream* CudaBackend::copies() { return opened(copies_); }
HandOvers* CudaBackend::handovers() { return opened(handovers_); }

bool CudaBackend::decodes_first(int64_t rows) const { return queue_->launcher().decodes_first(rows); }

uint64_t CudaBackend::mark() { return copies() ? copies()->mark() : 0; }
uint64_t CudaBackend::copy_ahead(void* to, const void* from, uint64_t bytes, uint64_t after) {
  return copies() ? copies()->copy(to, from, bytes, after) : 0;
}
uint64_t CudaBackend::working_bytes(const TensorView& host) const {
  return sizes_of(host, !reproducible_) ? padded(uint64_t(host.shape[0] * host.stride[0])) : 0;
}

uint64_t CudaBackend::copy_and_pack(const TensorView& host, void* to, void* working, uint64_t after) {
  const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
  const std::optional<PlaneSizes> sizes = sizes_of(host, !reproducible_);
  if (!sizes) return copy_ahead(to, host.data, bytes, after);
  if (!copies()) return 0;
  auto* memory = static_cast<uint8_t*>(to);
  const PlanePointers planes{memory, memory + sizes->high, memory + sizes->scales, memory + sizes->supers};
  const int64_t groups = host.shape.elements() / 32;
  return copies()->copy(working, host.data, bytes, after, [=, format = host.format](cudaStream_t stream) {
    launch_repack(format, working, 0, groups, planes, stream);
  });
}

void CudaBackend::defer(bool deferred) {
  if ((copies_ || deferred) && copies()) copies_->defer(deferred);
}
bool CudaBackend::is_done(uint64_t copy) { return !copies() || copies()->is_done(copy); }
void CudaBackend::finish_copy(uint64_t copy) {
  if (copies()) copies()->finish(copy);
}
void CudaBackend::wait_for_copy(uint64_t copy) {
  if (copies()) copies()->wait_for(copy);
}
void CudaBackend::copy_rows(std::span<const RowCopy> copies) {
  queue_->launch_behind("copying rows", [&](cudaStream_t stream) { launch_rows(copies, stream); });
}
void CudaBackend::copy_wanted_rows(const RowCopy& copy, const int32_t* wanted) {
  queue_->launch_behind("copying rows", [&](cudaStream_t stream) { launch_wanted_rows(copy, wanted, stream); });
}
void CudaBackend::submit() { queue_->flush(); }
void CudaBackend::wait() {
  queue_->flush();
  queue_->stream().check(cudaStreamSynchronize(queue_->stream().get()), "computing");
}

bool CudaBackend::failed() const { return queue_->stream().failed(); }
uint64_t CudaBackend::ask() { return handovers() ? handovers()->ask() : 0; }
void CudaBackend::wait_for_answer(uint64_t number) {
  if (handovers()) handovers()->wait_for_answer(number);
}
bool CudaBackend::is_asked(uint64_t number) const { return handovers_ == nullptr || handovers_->is_asked(number); }
void CudaBackend::answer(uint64_t number) {
  if (handovers_) handovers_->answer(number);
}

}  // namespace metallic::cuda

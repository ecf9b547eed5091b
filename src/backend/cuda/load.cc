// Weights on their way to the device.
#include <algorithm>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/fast.h"
#include "backend/cuda/planes.h"
#include "base/error.h"

namespace metallic::cuda {
namespace {

bool on_device(const void* data) {
  cudaPointerAttributes attributes = {};
  if (cudaPointerGetAttributes(&attributes, data) == cudaSuccess) return attributes.type == cudaMemoryTypeDevice;
  (void)cudaGetLastError();
  return false;
}

// Rows of blocks go to working memory piece by piece, and from there into their planes.
template <class P>
Status load_planes(Queue& queue, const std::shared_ptr<Queue>& owner, const TensorView& host, LoadedWeight& loaded) {
  constexpr int64_t kPiece = 32 << 20;  // bytes
  WeightRef& ref = loaded.ref;
  const int64_t columns = host.shape[1], row_bytes = host.stride[0];
  const PlaneSizes sizes = plane_sizes<P>(host.shape[0], columns);
  METALLIC_ASSIGN(loaded.memory, allocate_shared(owner, sizes.total, "weights"));
  auto* memory = static_cast<uint8_t*>(loaded.memory.get());
  const PlanePointers planes{memory, memory + sizes.high, memory + sizes.scales, memory + sizes.supers};
  ref.codes = planes.codes;
  ref.high = planes.high;
  ref.scales = planes.scales;
  ref.supers = planes.supers;
  ref.layout = Layout::kPlanes;
  const int64_t step = std::max<int64_t>(1, kPiece / row_bytes);
  Stream& stream = queue.stream();
  for (int64_t row = 0; row < host.shape[0]; row += step) {
    const int64_t rows = std::min(step, host.shape[0] - row);
    void* piece = queue.upload().get(uint64_t(std::max(kPiece, row_bytes)));
    if (piece == nullptr) break;
    stream.check(cudaMemcpyAsync(piece, static_cast<const char*>(host.data) + row * row_bytes,
                                 uint64_t(rows * row_bytes), cudaMemcpyHostToDevice, stream.get()),
                 "copying weights to the GPU");
    launch_repack(host.format, piece, row * columns / 32, rows * columns / 32, planes, stream.get());
    stream.check(cudaGetLastError(), "repacking weights");
  }
  return stream.synchronize("loading weights");
}

}  // namespace

Result<Weight> load(Queue& queue, const std::shared_ptr<Queue>& owner, const TensorView& host,
                    std::shared_ptr<const void> host_owner, bool planes) {
  auto loaded = std::make_shared<LoadedWeight>();
  WeightRef& ref = loaded->ref;
  ref.rows = int32_t(host.shape[0]);
  ref.columns = int32_t(host.shape[1]);
  ref.format = host.format;
  ref.layout = Layout::kBlocks;
  ref.row_bytes = host.stride[0];
  Weight weight;
  weight.view = host;
  if (on_device(host.data)) {  // a tensor: used where it lies
    ref.codes = host.data;
    weight.owner = std::move(host_owner);
  } else if (Status status; planes && host.shape.elements() > 0 && visit_planes(host.format, [&]<class P>(P) {
                              status = load_planes<P>(queue, owner, host, *loaded);
                            })) {
    METALLIC_TRY(std::move(status));
    weight.view.data = nullptr;
  } else {
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    METALLIC_ASSIGN(loaded->memory, allocate_shared(owner, bytes, "weights"));
    ref.codes = loaded->memory.get();
    queue.stream().check(
        cudaMemcpyAsync(loaded->memory.get(), host.data, bytes, cudaMemcpyHostToDevice, queue.stream().get()),
        "copying weights to the GPU");
    weight.view.data = nullptr;
  }
  weight.packed = std::move(loaded);
  return weight;
}

}  // namespace metallic::cuda

// Weights on their way to the device.
#include "backend/cuda/cuda_backend.h"
#include "base/error.h"

namespace metallic::cuda {
namespace {

bool on_device(const void* data) {
  cudaPointerAttributes attributes = {};
  if (cudaPointerGetAttributes(&attributes, data) == cudaSuccess) return attributes.type == cudaMemoryTypeDevice;
  (void)cudaGetLastError();
  return false;
}

}  // namespace

Result<Weight> load(Queue& queue, const std::shared_ptr<Queue>& owner, const TensorView& host,
                    std::shared_ptr<const void> host_owner, bool planes) {
  (void)planes;
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
  } else {
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    METALLIC_ASSIGN(loaded->memory, allocate_shared(owner, bytes, "weights"));
    ref.codes = loaded->memory.get();
    queue.stream().check(cudaMemcpyAsync(loaded->memory.get(), host.data, bytes, cudaMemcpyHostToDevice,
                                         queue.stream().get()),
                         "copying weights to the GPU");
    weight.view.data = nullptr;
  }
  weight.packed = std::move(loaded);
  return weight;
}

}  // namespace metallic::cuda

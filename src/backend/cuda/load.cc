// Weights on their way to the device.
#include <algorithm>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/fast.h"
#include "backend/cuda/planes.h"
#include "backend/cuda/upload.h"
#include "base/error.h"

namespace metallic::cuda {
namespace {

bool on_device(const void* data) {
  cudaPointerAttributes attributes = {};
  if (cudaPointerGetAttributes(&attributes, data) == cudaSuccess) return attributes.type == cudaMemoryTypeDevice;
  (void)cudaGetLastError();
  return false;
}

// Pieces of whole blocks of a dense matrix, for working memory or, as they are, for `to`.
std::vector<UploadPiece> cut_blocks(const TensorView& host, char* to) {
  const int64_t block = format_info(host.format).block_bytes;
  const int64_t step = int64_t(Uploader::kPieceBytes) / block * block, bytes = host.shape[0] * host.stride[0];
  const auto* from = static_cast<const char*>(host.data);
  std::vector<UploadPiece> pieces;
  for (int64_t at = 0; at < bytes; at += step)
    pieces.push_back({from + at, uint64_t(std::min(step, bytes - at)), to != nullptr ? to + at : nullptr, at});
  return pieces;
}

// Blocks go to working memory piece by piece, and from there into their planes.
template <class P>
Status load_planes(Uploader& uploader, Stream& stream, const std::shared_ptr<Queue>& owner, const TensorView& host,
                   LoadedWeight& loaded) {
  WeightRef& ref = loaded.ref;
  const int64_t rows = host.shape[0], columns = host.shape[1];
  const PlaneSizes sizes = plane_sizes<P>(rows, columns);
  METALLIC_ASSIGN(loaded.memory, allocate_shared(owner, sizes.total, "weights"));
  auto* memory = static_cast<uint8_t*>(loaded.memory.get());
  const PlanePointers planes{memory, memory + sizes.high, memory + sizes.scales, memory + sizes.supers};
  ref.codes = planes.codes;
  ref.high = planes.high;
  ref.scales = planes.scales;
  ref.supers = planes.supers;
  ref.layout = Layout::kPlanes;
  const FormatInfo& info = format_info(host.format);
  const int64_t block_groups = info.block_elements / 32;
  const Format format = host.format;
  uploader.run(
      cut_blocks(host, nullptr),
      [&](const UploadPiece& piece, const void* at, cudaStream_t on) {
        launch_repack(format, at, piece.offset / info.block_bytes * block_groups,
                      int64_t(piece.bytes) / info.block_bytes * block_groups, planes, on);
      },
      stream);
  return {};
}

}  // namespace

Result<Weight> load(Uploader& uploader, const std::shared_ptr<Queue>& queue, const TensorView& host,
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
                              status = load_planes<P>(uploader, queue->stream(), queue, host, *loaded);
                            })) {
    METALLIC_TRY(std::move(status));
    weight.view.data = nullptr;
  } else {
    const uint64_t bytes = uint64_t(host.shape[0] * host.stride[0]);
    METALLIC_ASSIGN(loaded->memory, allocate_shared(queue, bytes, "weights"));
    ref.codes = loaded->memory.get();
    uploader.run(cut_blocks(host, static_cast<char*>(loaded->memory.get())), nullptr, queue->stream());
    weight.view.data = nullptr;
  }
  weight.packed = std::move(loaded);
  return weight;
}

}  // namespace metallic::cuda

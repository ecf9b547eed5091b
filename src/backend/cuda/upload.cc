#include "backend/cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "backend/cuda/status.h"
#include "base/processors.h"

namespace metallic::cuda {

Result<std::unique_ptr<Uploader>> Uploader::create(int device) {
  const int threads = std::min(available_processors(), kMostThreads);
  std::unique_ptr<Uploader> uploader(new Uploader(device, threads));
  cudaError_t error = cudaSetDevice(device);
  for (Lane& lane : uploader->lanes_)
    if (error == cudaSuccess) error = open(lane);
  if (error == cudaSuccess) return uploader;
  (void)cudaGetLastError();
  return device_error(error, fmt::format("making pinned memory for uploads to cuda:{}", device));
}

cudaError_t Uploader::open(Lane& lane) {
  cudaError_t error = cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&lane.done, cudaEventDisableTiming);
  for (Slot& slot : lane.slots) {
    if (error == cudaSuccess) error = cudaMallocHost(&slot.host, kPieceBytes);
    if (error == cudaSuccess) error = cudaMalloc(&slot.device, kPieceBytes);
    if (error == cudaSuccess) error = cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming);
  }
  return error;
}

Uploader::~Uploader() {
  (void)cudaSetDevice(device_);
  for (Lane& lane : lanes_) {
    if (lane.stream != nullptr) (void)cudaStreamSynchronize(lane.stream);
    for (Slot& slot : lane.slots) {
      (void)cudaFreeHost(slot.host);
      (void)cudaFree(slot.device);
      if (slot.done != nullptr) (void)cudaEventDestroy(slot.done);
    }
    if (lane.done != nullptr) (void)cudaEventDestroy(lane.done);
    if (lane.stream != nullptr) (void)cudaStreamDestroy(lane.stream);
  }
  (void)cudaGetLastError();
}

cudaError_t Uploader::send(Lane& lane, const UploadPiece& piece, const Unpack& unpack) {
  Slot& slot = lane.slots[lane.next];
  lane.next = (lane.next + 1) % kSlots;
  cudaError_t error = cudaEventSynchronize(slot.done);  // what was in it before has been taken
  if (error != cudaSuccess) return error;
  std::memcpy(slot.host, piece.from, piece.bytes);
  void* const at = piece.to != nullptr ? piece.to : slot.device;
  error = cudaMemcpyAsync(at, slot.host, piece.bytes, cudaMemcpyHostToDevice, lane.stream);
  if (error == cudaSuccess && unpack) {
    unpack(piece, at, lane.stream);
    error = cudaGetLastError();
  }
  return error == cudaSuccess ? cudaEventRecord(slot.done, lane.stream) : error;
}

void Uploader::run(std::span<const UploadPiece> pieces, const Unpack& unpack, Stream& after) {
  std::atomic<size_t> next = 0;
  const auto work = [&](Lane& lane) {
    lane.error = cudaSetDevice(device_);
    while (lane.error == cudaSuccess) {
      const size_t i = next.fetch_add(1);
      if (i >= pieces.size()) break;
      lane.error = send(lane, pieces[i], unpack);
    }
    if (lane.error == cudaSuccess) lane.error = cudaEventRecord(lane.done, lane.stream);
  };
  if (pieces.size() == 1)
    work(lanes_[0]);
  else
    pool_.run([&](int thread, int) { work(lanes_[size_t(thread)]); });
  for (Lane& lane : lanes_) {
    if (after.check(lane.error, "copying weights to the GPU"))
      after.check(cudaStreamWaitEvent(after.get(), lane.done, 0), "waiting for weights");
    lane.error = cudaSuccess;
  }
}

}  // namespace metallic::cuda

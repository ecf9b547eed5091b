// Host memory to the GPU: threads copy pieces into pinned memory of their own, and from there each has a stream that
// takes them over the link and unpacks them, so that reading, copying and repacking run at the same time.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/stream.h"
#include "base/thread_pool.h"

namespace metallic::cuda {

// Part of what is uploaded.
struct UploadPiece {
  const void* from;  // on the host
  uint64_t bytes;    // at most Uploader::kPieceBytes
  void* to;          // on the device; or null: working memory, for `unpack` to read
  int64_t offset;    // of the piece in what is uploaded, in bytes
};

// One thread at a time.
class Uploader {
 public:
  static constexpr uint64_t kPieceBytes = 2 << 20;

  static Result<std::unique_ptr<Uploader>> create(int device);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // What is launched on the stream of a piece that has arrived at `at`. Called from several threads.
  using Unpack = std::function<void(const UploadPiece& piece, const void* at, cudaStream_t stream)>;
  // Returns when the host's memory has been read. What is put on `after` from then on comes behind all pieces; failures
  // are kept there.
  void run(std::span<const UploadPiece> pieces, const Unpack& unpack, Stream& after);

 private:
  static constexpr int kMostThreads = 8, kSlots = 2;
  struct Slot {
    void* host = nullptr;    // pinned
    void* device = nullptr;  // working memory
    cudaEvent_t done = nullptr;
  };
  struct Lane {  // of one thread
    cudaStream_t stream = nullptr;
    cudaEvent_t done = nullptr;
    Slot slots[kSlots];
    int next = 0;
    cudaError_t error = cudaSuccess;
  };

  Uploader(int device, int threads) : device_(device), lanes_(size_t(threads)), pool_(threads) {}
  static cudaError_t open(Lane& lane);
  static cudaError_t send(Lane& lane, const UploadPiece& piece, const Unpack& unpack);

  int device_;
  std::vector<Lane> lanes_;
  ThreadPool pool_;
};

}  // namespace metallic::cuda

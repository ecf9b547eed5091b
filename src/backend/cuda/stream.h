// The stream of one backend, its memory and its first failure.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <optional>
#include <string>

#include "metallic/result.h"

namespace metallic::cuda {

// Owns a CUDA stream on one device. One thread at a time.
class Stream {
 public:
  static Result<std::unique_ptr<Stream>> open(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  int device() const { return device_; }
  const cudaDeviceProp& properties() const { return properties_; }

  // Keeps the first failure, to be returned by synchronize(). False if `error` is one.
  bool check(cudaError_t error, const char* doing);
  void keep(Error failure) {
    if (!failure_) failure_ = std::move(failure);
  }
  bool failed() const { return failure_.has_value(); }
  // Waits for all work of the stream.
  Status synchronize(const char* doing);
  // Memory of the device; not zeroed.
  Result<void*> allocate(uint64_t bytes, const char* what);

 private:
  explicit Stream(int device) : device_(device) {}
  int device_;
  cudaStream_t stream_ = nullptr;
  cudaDeviceProp properties_ = {};
  std::optional<Error> failure_;
};

}  // namespace metallic::cuda

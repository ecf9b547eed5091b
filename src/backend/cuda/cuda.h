// The CUDA backend: the operations of backend.h on one NVIDIA GPU. Nothing of CUDA itself is needed to include this.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace metallic {

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  uint64_t memory_bytes = 0, free_bytes = 0;
  double bandwidth = 0;  // bytes a second, by the clock and width of its memory; 0: not known
};

// Every GPU, or why there is none that can be used: no driver, one that is too old, no permission, no GPU.
Result<std::vector<CudaDevice>> cuda_devices();

// Bytes a second that a plain kernel reads from the memory of a GPU; takes 4 GiB of it for a moment.
Result<double> measure_cuda_read_rate(int device);

// Bytes a second that clearing the memory of a GPU writes; likewise.
Result<double> measure_cuda_write_rate(int device);

struct CudaOptions {
  int device = 0;
  // Float32 arithmetic in one order: the same bits for any batch composition, slower.
  bool reproducible = false;
};

// kUnsupported: no GPU can be used here, and why; kNotFound: none of this number; kDevice: it does not answer.
Result<std::shared_ptr<Backend>> make_cuda_backend(const CudaOptions& options);

}  // namespace metallic

// A CUDA runtime without a GPU, linked in place of the real one: memory is the host's, kernels do nothing, and any call
// can be made to fail.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace metallic::testing {

struct FakeRuntime {
  int calls = 0;                           // that could have failed
  int fail_at = -1;                        // the number of the call that fails
  cudaError_t failure = cudaErrorUnknown;  // what it returns; cudaErrorMemoryAllocation where it allocates
  bool lost = false;                       // every call after it fails likewise
  std::string failed;                      // its name
  int live_allocations = 0;
  int driver_version = 13000;
  cudaError_t device_count_error = cudaSuccess;

  // As at the start, but for what is allocated.
  void restart();
};
FakeRuntime& fake_runtime();

}  // namespace metallic::testing

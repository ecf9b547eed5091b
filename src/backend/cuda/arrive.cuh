// Blocks that put a result together: the last to arrive does.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace metallic::cuda {

// Called by all threads of a block that has stored its part of a result of `blocks` blocks: whether the others have,
// too, so that this block may read all of it. `arrived` counts, and is 0 again then; `shared` is the block's own.
__device__ inline bool is_last_to_arrive(int32_t* arrived, int blocks, int* shared) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *shared = atomicAdd(arrived, 1) == blocks - 1;
    if (*shared) *arrived = 0;  // for the next launch
  }
  __syncthreads();
  const bool last = *shared;
  if (last) __threadfence();
  return last;
}

}  // namespace metallic::cuda

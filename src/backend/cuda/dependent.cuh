// Programmatic dependent launch: a kernel may start while the one before it still runs, up to wait_for_previous().
#pragma once

#include <cuda_runtime.h>

namespace metallic::cuda {

// Before the first read of anything that an earlier kernel writes, and before the first write. Every thread calls it.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// From here on the next kernel may be started.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Launches kernel(args); `dependent`: it calls wait_for_previous().
template <class Args>
void launch_kernel(void (*kernel)(Args), dim3 grid, dim3 block, size_t shared, bool dependent, const Args& args,
                   cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = dependent ? 1 : 0;
  (void)cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace metallic::cuda

// Programmatic dependent launch: a kernel may start while the one before it still runs, up to wait_for_previous().
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

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

// Sixteen bytes of the device's memory to shared memory, zeros if not `there`; visible to this thread behind
// wait_for_copies<0>().
__device__ inline void copy_piece(void* to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
}
// Four bytes likewise; they are there.
__device__ inline void copy_word(void* to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from)
               : "memory");
}
// The word that two bytes are in.
__device__ inline const char* word_of(const char* at) {
  return reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(at) & ~uintptr_t(3));
}
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all groups but the latest `kLeft` are there.
template <int kLeft>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Launches kernel(args); `dependent`: it calls wait_for_previous(). All kernels want the same division of a
// multiprocessor's memory into cache and shared memory: two with different ones never share it.
template <class Args>
void launch_kernel(void (*kernel)(Args), dim3 grid, dim3 block, size_t shared, bool dependent, const Args& args,
                   cudaStream_t stream) {
  (void)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  constexpr size_t kWithoutAsking = 48 << 10;
  if (shared > kWithoutAsking)
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
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

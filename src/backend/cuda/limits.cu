// How fast this GPU reads its memory: what every share in the benchmarks is a share of.
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

namespace metallic::cuda {
namespace {

__global__ void read_kernel(const uint4* from, int64_t count, uint32_t* out) {
  uint32_t sum = 0;
  const int64_t step = global_threads();
  int64_t i = global_thread();
  for (; i + 7 * step < count; i += 8 * step) {
    uint4 v[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) v[k] = __ldcs(from + i + k * step);
#pragma unroll
    for (int k = 0; k < 8; ++k) sum += v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
  }
  for (; i < count; i += step) sum += from[i].x;
  if (sum == 0x12345678u) *out = sum;  // so that the loads are not optimised away
}

// The best of some repetitions of `work` on `bytes` of memory.
template <class Work>
cudaError_t time_work(uint64_t bytes, double& bytes_per_second, Work work) {
  constexpr int kRepetitions = 5;
  char* memory = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaSuccess) error = cudaMemset(memory, 0x5a, bytes);
  if (error == cudaSuccess) error = cudaEventCreate(&begin);
  if (error == cudaSuccess) error = cudaEventCreate(&end);
  bytes_per_second = 0;
  for (int i = 0; i < kRepetitions && error == cudaSuccess; ++i) {
    float milliseconds = 0;
    (void)cudaEventRecord(begin);
    work(memory);
    (void)cudaEventRecord(end);
    error = cudaEventSynchronize(end);
    if (error == cudaSuccess) error = cudaEventElapsedTime(&milliseconds, begin, end);
    if (error == cudaSuccess)
      bytes_per_second = std::max(bytes_per_second, double(bytes) / (double(milliseconds) * 1e-3));
  }
  if (begin != nullptr) (void)cudaEventDestroy(begin);
  if (end != nullptr) (void)cudaEventDestroy(end);
  (void)cudaFree(memory);
  return error;
}

}  // namespace

cudaError_t time_reading(uint64_t bytes, double& bytes_per_second) {
  return time_work(bytes, bytes_per_second, [bytes](char* memory) {
    read_kernel<<<132 * 16, 512>>>(reinterpret_cast<const uint4*>(memory), int64_t(bytes / sizeof(uint4)),
                                   reinterpret_cast<uint32_t*>(memory));
  });
}

cudaError_t time_writing(uint64_t bytes, double& bytes_per_second) {
  return time_work(bytes, bytes_per_second, [bytes](char* memory) { (void)cudaMemsetAsync(memory, 0, bytes); });
}

}  // namespace metallic::cuda

#include "backend/cuda/fetch.h"

namespace metallic::cuda {
namespace {

__global__ void fetch_kernel(const int32_t* from, int count, int32_t* to) {
  if (int(threadIdx.x) < count) to[threadIdx.x] = from[threadIdx.x];
}

}  // namespace

void launch_fetch(const int32_t* from, int count, int32_t* to, cudaStream_t stream) {
  fetch_kernel<<<1, RunAhead::kMostRows, 0, stream>>>(from, count, to);
}

}  // namespace metallic::cuda

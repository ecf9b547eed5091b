// What kernels share: reductions, launch sizes, addresses.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "backend/cuda/commands.h"

namespace metallic::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__host__ __device__ inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
// Blocks for a loop that strides over the grid: enough to fill any GPU.
inline unsigned grid_for(int64_t items, int threads) {
  return unsigned(std::clamp<int64_t>(divide_up(items, threads), 1, 132 * 32));
}

__device__ inline int64_t global_thread() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t global_threads() { return int64_t(gridDim.x) * blockDim.x; }

__device__ inline float warp_sum(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

// Of all threads of the block, given to all. The block is whole warps, at most 32; `shared` has 33 floats. Safe to call
// again with the same `shared`.
template <float (*kWarpReduce)(float)>
__device__ inline float block_reduce(float x, float* shared, float identity) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  x = kWarpReduce(x);
  if (warps == 1) return x;
  __syncthreads();
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  return kWarpReduce(lane < warps ? shared[lane] : identity);
}
__device__ inline float block_sum(float x, float* shared) { return block_reduce<warp_sum>(x, shared, 0.0f); }
__device__ inline float block_max(float x, float* shared) { return block_reduce<warp_max>(x, shared, -INFINITY); }

// The four indices of element `index` of a shape, the last varying fastest.
struct Index4 {
  int64_t at[4];
};
__device__ inline Index4 index_of(int64_t index, const int64_t* size) {
  Index4 result;
  if (index >> 31 == 0 && size[1] >> 31 == 0 && size[2] >> 31 == 0 && size[3] >> 31 == 0) {  // 32-bit division is fast
    uint32_t left = uint32_t(index);
    for (int i = 3; i > 0; --i) {
      const uint32_t next = left / uint32_t(size[i]);
      result.at[i] = left - next * uint32_t(size[i]);
      left = next;
    }
    result.at[0] = left;
    return result;
  }
  for (int i = 3; i > 0; --i) {
    result.at[i] = index % size[i];
    index /= size[i];
  }
  result.at[0] = index;
  return result;
}
__device__ inline char* address(const Strided& view, const Index4& index) {
  return view.data + index.at[0] * view.stride[0] + index.at[1] * view.stride[1] + index.at[2] * view.stride[2] +
         index.at[3] * view.stride[3];
}

}  // namespace metallic::cuda

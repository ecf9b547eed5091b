// Activations to eight bits, with or without the norm before them, or the norm alone: a block for each row. Floor: a
// row is read and written once, a few kilobytes; in decode it is the latency of one block that counts.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/quantise.cuh"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kMostFours = 16;  // of a thread: rows of up to 32768 floats stay in registers

template <bool kAligned>
__device__ void load_four(const float* from, float* x) {
  if constexpr (kAligned) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
  } else {
    for (int k = 0; k < 4; ++k) x[k] = from[k];
  }
}

template <bool kAligned>
__global__ void __launch_bounds__(kThreads) quantise_kernel(const QuantiseArgs a) {
  __shared__ float shared[kWarp + 1];
  const int64_t row = blockIdx.x;
  const float* x = a.x.data + row * a.x.stride;
  auto* groups = static_cast<ActivationGroup*>(a.to.groups);
  let_next_start();
  if (a.has_norm && a.norm.weight)  // on its way while the kernel ahead ends
    for (int i = int(threadIdx.x) * 32; i < a.columns; i += int(blockDim.x) * 32)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(a.norm.weight + i));
  wait_for_previous();
  const int step = int(blockDim.x) * 4, padded = (a.columns + 127) / 128 * 128;  // whole warps take part
  if (!a.has_norm) {
    for (int at = int(threadIdx.x) * 4; at < padded; at += step) {
      float values[4] = {};
      if (at < a.columns) load_four<kAligned>(x + at, values);
      quantise_four(values, at < a.columns, row * a.columns + at, a.to.codes, groups);
    }
    return;
  }
  float values[kMostFours][4];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kMostFours; ++i) {
    const int at = int(threadIdx.x) * 4 + i * step;
    for (int k = 0; k < 4; ++k) values[i][k] = 0;
    if (at >= a.columns) break;
    load_four<kAligned>(x + at, values[i]);
    for (int k = 0; k < 4; ++k) sum += values[i][k];
  }
  const float mean = a.norm.layer ? block_sum(sum, shared) / float(a.columns) : 0.0f;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kMostFours; ++i) {
    if (int(threadIdx.x) * 4 + i * step >= a.columns) break;
    for (int k = 0; k < 4; ++k) {
      values[i][k] -= mean;
      squares = fmaf(values[i][k], values[i][k], squares);
    }
  }
  squares = block_sum(squares, shared);
  const float factor = 1.0f / sqrtf(squares / float(a.columns) + a.norm.epsilon);
  float* out = a.norm.out.data + row * a.norm.out.row_stride;
#pragma unroll
  for (int i = 0; i < kMostFours; ++i) {
    const int at = int(threadIdx.x) * 4 + i * step;
    if (at - int(threadIdx.x % kWarp) * 4 >= a.columns) break;  // the same for all lanes of a warp
    const bool valid = at < a.columns;
    for (int k = 0; k < 4 && valid; ++k) {
      float value = values[i][k] * factor;
      if (a.norm.weight) value *= a.norm.weight[at + k];
      if (a.norm.bias) value += a.norm.bias[at + k];
      values[i][k] = value;
      out[at + k] = value;
    }
    if (a.to.codes) quantise_four(values[i], valid, row * a.columns + at, a.to.codes, groups);
  }
}

}  // namespace

void launch(const QuantiseArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const int threads = int(std::clamp<int64_t>(divide_up(a.columns, 4 * kWarp) * kWarp, kWarp, kThreads));
  const bool dependent = a.dependent != 0;
  if (a.aligned)
    launch_kernel(quantise_kernel<true>, dim3(unsigned(a.rows)), dim3(unsigned(threads)), 0, dependent, a, stream);
  else
    launch_kernel(quantise_kernel<false>, dim3(unsigned(a.rows)), dim3(unsigned(threads)), 0, dependent, a, stream);
}

}  // namespace metallic::cuda

// Operations on rows of floats: norm, activation, scale, softmax, rope, element-wise. All are bound by memory, a few
// bytes an element; what counts is that rows are read in order, and that there are enough of them.
#include "backend/activation.h"
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"
#include "backend/random.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 256;

// A block for each row and head. x / sqrt(mean(x^2) + epsilon) * weight, or the same of x - mean, + bias.
__global__ void norm_kernel(const NormArgs a) {
  __shared__ float shared[kWarp + 1];
  let_next_start();
  const int64_t row = blockIdx.x / unsigned(a.heads), head = blockIdx.x % unsigned(a.heads);
  const float* x = a.x.data + row * a.x.row_stride + head * a.x.head_stride;
  float* out = a.out.data + row * a.out.row_stride + head * a.out.head_stride;
  float mean = 0;
  if (a.layer) {
    float sum = 0;
    for (int i = int(threadIdx.x); i < a.width; i += int(blockDim.x)) sum += x[i];
    mean = block_sum(sum, shared) / float(a.width);
  }
  float squares = 0;
  for (int i = int(threadIdx.x); i < a.width; i += int(blockDim.x)) {
    const float difference = x[i] - mean;
    squares = fmaf(difference, difference, squares);
  }
  squares = block_sum(squares, shared);
  const float factor = 1.0f / sqrtf(squares / float(a.width) + a.epsilon);
  for (int i = int(threadIdx.x); i < a.width; i += int(blockDim.x)) {
    float value = (x[i] - mean) * factor;
    if (a.weight) value *= a.weight[head * a.weight_stride + i];
    if (a.bias) value += a.bias[head * a.weight_stride + i];
    out[i] = value;
  }
}

__global__ void activate_kernel(const ActivateArgs a) {
  let_next_start();
  const int64_t count = int64_t(a.rows) * a.width;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t row = i / a.width, column = i % a.width;
    const float x = a.x.data[row * a.x.stride + column];
    a.out.data[row * a.out.stride + column] =
        a.factor.data ? gated_value(a.activation, x, a.factor.data[row * a.factor.stride + column], a.clamp)
                      : activation_value(a.activation, x);
  }
}

__global__ void scale_kernel(const ScaleArgs a) {
  let_next_start();
  const int64_t count = int64_t(a.rows) * a.width;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    float* x = a.x.data + i / a.width * a.x.stride + i % a.width;
    const float scaled = a.factor == 0.0f ? 0.0f : *x * a.factor;  // 0 * NaN is 0 here: memory may hold anything
    *x = a.softcap > 0 ? a.softcap * tanhf(scaled / a.softcap) : scaled;
  }
}

// A thread for each pair of each head of each row.
__global__ void rope_kernel(const RopeArgs a) {
  let_next_start();
  const int64_t count = int64_t(a.rows) * a.heads * a.pairs;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int pair = int(i % a.pairs);
    const int64_t head = i / a.pairs % a.heads, row = i / a.pairs / a.heads;
    float* x = a.x.data + row * a.x.row_stride + head * a.x.head_stride;
    float sine, cosine;
    sincosf(float(a.positions[row]) * a.frequencies[pair], &sine, &cosine);
    sine *= a.magnitude;
    cosine *= a.magnitude;
    const int first = a.interleaved ? 2 * pair : pair, second = a.interleaved ? 2 * pair + 1 : pair + a.pairs;
    const float p = x[first], q = x[second];
    x[first] = p * cosine - q * sine;
    x[second] = p * sine + q * cosine;
  }
}

__global__ void binary_kernel(const BinaryArgs a) {
  let_next_start();
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3];
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const Index4 index = index_of(i, a.size);
    const float x = *reinterpret_cast<const float*>(address(a.a, index));
    const float y = *reinterpret_cast<const float*>(address(a.b, index));
    *reinterpret_cast<float*>(address(a.out, index)) = a.multiply ? x * y : x + y;
  }
}

// A block for each row.
__global__ void softmax_kernel(const SoftmaxArgs a) {
  __shared__ float shared[kWarp + 1];
  const int64_t width = a.size[3];
  const Index4 index = index_of(int64_t(blockIdx.x) * width, a.size);
  const char* x = address(a.x, index);
  char* out = address(a.out, index);
  const auto at = [&](int64_t i) { return *reinterpret_cast<const float*>(x + i * a.x.stride[3]); };
  float highest = -INFINITY;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) highest = fmaxf(highest, at(i));
  highest = block_max(highest, shared);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) sum += expf(at(i) - highest);
  sum = block_sum(sum, shared);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x)
    *reinterpret_cast<float*>(out + i * a.out.stride[3]) = expf(at(i) - highest) / sum;
}

__global__ void combine_kernel(const CombineArgs a) {
  let_next_start();
  const int64_t count = int64_t(a.rows) * a.width;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t row = i / a.width, column = i % a.width;
    float value = a.out.data[row * a.out.stride + column];
    for (int k = 0; k < a.used; ++k)
      value += a.weights[row * a.used + k] * a.x.data[(row * a.used + k) * a.x.stride + column];
    a.out.data[row * a.out.stride + column] = value;
  }
}

// Four numbers a thread in one 16-byte store. Floor: 4 bytes an element at the rate of writing.
__global__ void random_kernel(const RandomArgs a) {
  const int64_t fours = a.count / 4;
  const auto value = [&](int64_t i) {
    const RandomKeys keys = random_keys(a.seed, uint64_t(i));
    return random_float(random_bits(keys, uint32_t(i)), a.lo, a.range, a.below_hi);
  };
  for (int64_t i = global_thread(); i < fours; i += global_threads()) {
    const RandomKeys keys = random_keys(a.seed, uint64_t(4 * i));  // 4 divides 2^32: one block
    const auto next = [&](int j) {
      return random_float(random_bits(keys, uint32_t(4 * i + j)), a.lo, a.range, a.below_hi);
    };
    __stcs(reinterpret_cast<float4*>(a.out) + i, make_float4(next(0), next(1), next(2), next(3)));
  }
  const int64_t rest = 4 * fours + global_thread();
  if (rest < a.count) a.out[rest] = value(rest);
}

// Threads of a block that walks over one row of `width`.
int threads_for(int64_t width) { return int(std::clamp<int64_t>(divide_up(width, kWarp) * kWarp, kWarp, 1024)); }

}  // namespace

void launch(const NormArgs& a, cudaStream_t stream) {
  if (int64_t(a.rows) * a.heads == 0) return;
  norm_kernel<<<unsigned(int64_t(a.rows) * a.heads), unsigned(threads_for(divide_up(a.width, 4))), 0, stream>>>(a);
}
void launch(const ActivateArgs& a, cudaStream_t stream) {
  activate_kernel<<<grid_for(int64_t(a.rows) * a.width, kThreads), kThreads, 0, stream>>>(a);
}
void launch(const ScaleArgs& a, cudaStream_t stream) {
  scale_kernel<<<grid_for(int64_t(a.rows) * a.width, kThreads), kThreads, 0, stream>>>(a);
}
void launch(const RopeArgs& a, cudaStream_t stream) {
  rope_kernel<<<grid_for(int64_t(a.rows) * a.heads * a.pairs, kThreads), kThreads, 0, stream>>>(a);
}
void launch(const BinaryArgs& a, cudaStream_t stream) {
  const int64_t count = a.size[0] * a.size[1] * a.size[2] * a.size[3];
  if (count > 0) binary_kernel<<<grid_for(count, kThreads), kThreads, 0, stream>>>(a);
}
void launch(const SoftmaxArgs& a, cudaStream_t stream) {
  const int64_t rows = a.size[0] * a.size[1] * a.size[2];
  if (rows * a.size[3] > 0)
    softmax_kernel<<<unsigned(rows), unsigned(threads_for(divide_up(a.size[3], 4))), 0, stream>>>(a);
}
void launch(const CombineArgs& a, cudaStream_t stream) {
  combine_kernel<<<grid_for(int64_t(a.rows) * a.width, kThreads), kThreads, 0, stream>>>(a);
}
void launch(const RandomArgs& a, cudaStream_t stream) {
  random_kernel<<<grid_for(divide_up(a.count, 4), kThreads), kThreads, 0, stream>>>(a);
}

}  // namespace metallic::cuda

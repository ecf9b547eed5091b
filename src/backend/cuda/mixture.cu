// Choosing experts: a warp for each row, as HostBackend::route does it step by step.
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

namespace metallic::cuda {
namespace {

// The index in [0, count) of the best score that is not taken, the lowest of equal ones; the same in all lanes.
__device__ int best_of(const float* scores, const uint8_t* allowed, int count) {
  float best = -INFINITY;
  int index = INT32_MAX;
  for (int i = int(threadIdx.x); i < count; i += kWarp)
    if (allowed[i] && (index == INT32_MAX || scores[i] > best)) {
      best = scores[i];
      index = i;
    }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, best, offset);
    const int other_index = __shfl_xor_sync(kAllLanes, index, offset);
    const bool better =
        other_index != INT32_MAX && (index == INT32_MAX || other > best || (other == best && other_index < index));
    if (better) {
      best = other;
      index = other_index;
    }
  }
  return index;
}

// Sum of the `top` best scores of a group, best first, as the host adds them.
__device__ float group_score(const float* scores, int size, int top) {
  float sum = 0, limit = INFINITY;
  int left = top;
  while (left > 0) {  // the next lower value, as often as it is there
    float next = -INFINITY;
    for (int i = 0; i < size; ++i)
      if (scores[i] < limit && scores[i] > next) next = scores[i];
    int times = 0;
    for (int i = 0; i < size; ++i) times += scores[i] == next;
    if (times == 0) break;
    for (; times > 0 && left > 0; --times, --left) sum += next;
    limit = next;
  }
  return sum;
}

__global__ void route_kernel(const RouteArgs a) {
  extern __shared__ float memory[];
  float* scores = memory;                                                  // (experts)
  float* group_scores = scores + a.experts;                                // (groups)
  uint8_t* allowed = reinterpret_cast<uint8_t*>(group_scores + a.groups);  // (experts)
  uint8_t* open = allowed + a.experts;                                     // (groups): not chosen yet
  const int64_t row = blockIdx.x;
  const int lane = int(threadIdx.x), n = a.experts;
  float* chances = a.logits.data + row * a.logits.stride;

  if (a.sigmoid) {
    for (int i = lane; i < n; i += kWarp) chances[i] = 1.0f / (1.0f + expf(-chances[i]));
  } else {
    float highest = -INFINITY, sum = 0;
    for (int i = lane; i < n; i += kWarp) highest = fmaxf(highest, chances[i]);
    highest = warp_max(highest);
    for (int i = lane; i < n; i += kWarp) sum += expf(chances[i] - highest);
    sum = warp_sum(sum);
    for (int i = lane; i < n; i += kWarp) chances[i] = expf(chances[i] - highest) / sum;
  }
  for (int i = lane; i < n; i += kWarp) {
    scores[i] = chances[i] + (a.selection_bias ? a.selection_bias[i] : 0.0f);
    allowed[i] = a.groups_used >= a.groups && i < n / a.groups * a.groups;
  }
  __syncwarp();
  if (a.groups_used < a.groups) {
    const int size = n / a.groups;
    for (int group = lane; group < a.groups; group += kWarp) {
      group_scores[group] = group_score(scores + group * size, size, min(a.group_top, size));
      open[group] = 1;
    }
    __syncwarp();
    for (int k = 0; k < a.groups_used; ++k) {
      const int group = best_of(group_scores, open, a.groups);
      __syncwarp();
      if (lane == 0 && group < a.groups) open[group] = 0;
      for (int i = lane; i < size; i += kWarp) allowed[group * size + i] = 1;
      __syncwarp();
    }
  }
  float sum = 0;
  for (int k = 0; k < a.used; ++k) {
    const int expert = best_of(scores, allowed, n);
    __syncwarp();
    if (lane == 0) {
      a.ids[row * a.used + k] = expert;
      allowed[expert] = 0;
    }
    sum += chances[expert];
    __syncwarp();
  }
  if (a.sigmoid) sum += 1e-20f;
  const float factor = a.scale / (a.normalise ? sum : 1.0f);
  for (int k = lane; k < a.used; k += kWarp) a.weights[row * a.used + k] = chances[a.ids[row * a.used + k]] * factor;
}

}  // namespace

void launch(const RouteArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const size_t shared = size_t(a.experts + a.groups) * (sizeof(float) + 1);
  route_kernel<<<unsigned(a.rows), kWarp, shared, stream>>>(a);
}

}  // namespace metallic::cuda

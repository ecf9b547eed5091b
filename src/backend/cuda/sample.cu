// The choice of the next token where the logits are (sampling.h): the steps of engine/samplers/ in their order.
// Every number is a key of 64 bits, its value above its id, so that no two are equal and the lower id of equal values is
// better. maxima: the best key of each group of neighbours; if C candidates are wanted, they lie in the C best groups, and
// none is worse than the worst of those groups' best. So of 152,064 logits 40 groups of 128 are looked at for a top-k of 40.
// Sums are in double, exponentials too: the tokens are those of the host's sampler. Floor: the logits read once.
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPickThreads = 1024;
constexpr int kMost = kMostSampleGroups;  // keys that a block sorts
constexpr uint64_t kUnusable = ~uint64_t(0);  // NaN or infinity is in the group

__device__ uint64_t key_of(float value, int64_t id) {
  const uint32_t bits = __float_as_uint(value + 0.0f);  // no negative zero
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return isnan(value) || value == INFINITY ? kUnusable : uint64_t(ordered) << 32 | uint32_t(~uint32_t(id));
}
__device__ float value_of(uint64_t key) {
  const uint32_t ordered = uint32_t(key >> 32);
  return __uint_as_float(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ int32_t id_of(uint64_t key) { return int32_t(~uint32_t(key)); }

__device__ uint64_t warp_best(uint64_t key) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) key = max(key, __shfl_xor_sync(kAllLanes, key, offset));
  return key;
}
__device__ double warp_total(double x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
// Of all threads of the block, which is whole warps; `shared` has 32 keys.
__device__ uint64_t block_best(uint64_t key, uint64_t* shared) {
  const int warps = int(blockDim.x) / kWarp, warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  key = warp_best(key);
  if (lane == 0) shared[warp] = key;
  __syncthreads();
  key = warp_best(lane < warps ? shared[lane] : 0);
  __syncthreads();
  return key;
}

// A block for each row: bias and penalties, in place; what was there is kept.
__global__ void change_kernel(const SampleArgs a) {
  const SampleChoice choice = a.choices[blockIdx.x];
  float* logits = a.logits.data + blockIdx.x * a.logits.stride;
  for (int i = int(threadIdx.x); i < choice.change_count; i += int(blockDim.x)) {
    const LogitChange change = a.changes[choice.first_change + i];
    float logit = logits[change.id];
    a.originals[choice.first_change + i] = logit;
    logit += change.bias;
    if (change.count > 0) {
      logit = logit > 0 ? logit / choice.repeat : logit * choice.repeat;
      logit -= float(change.count) * choice.frequency + choice.presence;
    }
    logits[change.id] = logit;
  }
}

// `lanes` lanes have a group, four numbers each at a time.
__global__ void maxima_kernel(const SampleArgs a) {
  const int64_t row = blockIdx.y;
  const float* logits = a.logits.data + row * a.logits.stride;
  const int64_t group = global_thread() / a.lanes, begin = group * a.group;
  const int64_t end = min(begin + a.group, int64_t(a.width));
  uint64_t best = 0;
  if (group < a.groups)
    for (int64_t i = begin + int64_t(threadIdx.x) % a.lanes * 4; i < end; i += a.lanes * 4)
      for (int64_t j = i; j < min(i + 4, end); ++j) best = max(best, key_of(logits[j], j));
  for (int offset = a.lanes / 2; offset > 0; offset /= 2) best = max(best, __shfl_xor_sync(kAllLanes, best, offset));
  if (group < a.groups && threadIdx.x % unsigned(a.lanes) == 0) a.maxima[row * a.groups + group] = best;
}

// Whether the whole row counts: for the share that top-p is of, or because nothing but min-p narrows it.
__device__ bool takes_all(const SampleChoice& choice) { return choice.temperature > 0 && choice.top_k == 0; }

// What a number weighs in the sum of its row; `best` is the best one.
__device__ double weight_of(const SampleChoice& choice, float value, float best) {
  if (choice.top_p < 1) return exp(double(value) - double(best));
  if (choice.log_min_p < 0 && value < best + choice.log_min_p) return 0;
  return exp(double(value / choice.temperature) - double(best / choice.temperature));
}

// A warp for the sum of a group.
__global__ void sums_kernel(const SampleArgs a) {
  __shared__ uint64_t shared[kWarp];
  const int64_t row = blockIdx.y;
  const SampleChoice choice = a.choices[row];
  if (!takes_all(choice)) return;
  const uint64_t* maxima = a.maxima + row * a.groups;
  uint64_t highest = 0;
  for (int i = int(threadIdx.x); i < a.groups; i += int(blockDim.x)) highest = max(highest, maxima[i]);
  const float best = value_of(block_best(highest, shared));
  const int64_t group = global_thread() / kWarp, begin = group * a.group;
  if (group >= a.groups) return;
  const float* logits = a.logits.data + row * a.logits.stride;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x % kWarp; i < min(begin + a.group, int64_t(a.width)); i += kWarp)
    sum += weight_of(choice, logits[i], best);
  sum = warp_total(sum);
  if (threadIdx.x % kWarp == 0) a.sums[row * a.groups + group] = sum;
}

// Best first; `count` is a power of two.
__device__ void sort_keys(uint64_t* keys, int count) {
  for (int size = 2; size <= count; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int t = int(threadIdx.x); t < count / 2; t += int(blockDim.x)) {
        const int low = t / step * step * 2 + t % step, high = low + step;
        const bool ascending = (low & size) != 0;
        if ((keys[low] < keys[high]) != ascending) {
          const uint64_t kept = keys[low];
          keys[low] = keys[high];
          keys[high] = kept;
        }
      }
    }
  __syncthreads();
}
__device__ int power_of_two(int count) { return count <= 1 ? 1 : 1 << (32 - __clz(count - 1)); }

struct PickMemory {
  uint64_t groups[kMost];      // the best of each group
  uint64_t candidates[kMost];  // best first
  double weights[kMost];
  uint64_t reduced[kWarp];
  int count;
  int32_t chosen;
};

// The candidates best first, in memory.candidates: all that are no worse than the worst of the `wanted` best groups' best,
// or all there are. Returns how many; more than kMost if there is no room for them.
__device__ int find_candidates(const SampleArgs& a, const float* logits, int wanted, PickMemory& memory) {
  const bool whole = a.width <= kMost;
  int visited = a.groups;
  uint64_t lowest = 0;
  if (!whole) {
    const int padded = power_of_two(a.groups);
    for (int i = a.groups + int(threadIdx.x); i < padded; i += int(blockDim.x)) memory.groups[i] = 0;
    sort_keys(memory.groups, padded);
    visited = min(wanted, a.groups);
    lowest = memory.groups[visited - 1];
  }
  if (threadIdx.x == 0) memory.count = 0;
  __syncthreads();
  for (int g = int(threadIdx.x) / kWarp; g < visited; g += int(blockDim.x) / kWarp) {
    const int64_t begin = whole ? int64_t(g) * a.group : int64_t(id_of(memory.groups[g])) / a.group * a.group;
    for (int64_t i = begin + threadIdx.x % kWarp; i < min(begin + a.group, int64_t(a.width)); i += kWarp) {
      const uint64_t key = key_of(logits[i], i);
      if (key < lowest) continue;
      const int at = atomicAdd(&memory.count, 1);
      if (at < kMost) memory.candidates[at] = key;
    }
  }
  __syncthreads();
  const int count = memory.count;
  if (count > kMost) return count;
  const int padded = power_of_two(count);
  for (int i = count + int(threadIdx.x); i < padded; i += int(blockDim.x)) memory.candidates[i] = 0;
  sort_keys(memory.candidates, padded);
  return count;
}

// The sum of `count` numbers, given to thread 0.
__device__ double block_total(const double* numbers, int count, PickMemory& memory) {
  double sum = 0;
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) sum += numbers[i];
  sum = warp_total(sum);
  if (threadIdx.x % kWarp == 0) memory.weights[threadIdx.x / kWarp] = sum;
  __syncthreads();
  sum = 0;
  if (threadIdx.x == 0)
    for (int i = 0; i < int(blockDim.x) / kWarp; ++i) sum += memory.weights[i];
  __syncthreads();
  return sum;
}

// Draws from the candidates best first, after top-k, top-p and min-p.
__device__ int32_t draw_sorted(const SampleArgs& a, const SampleChoice& choice, const float* logits,
                               const double* sums, PickMemory& memory) {
  constexpr int kEnough = kMostSampleTopK;  // without a top-k: a sum of p seldom takes more
  const int found = find_candidates(a, logits, choice.top_k > 0 ? choice.top_k : kEnough, memory);
  if (found > kMost) return kChooseOnHost;
  const int count = choice.top_k > 0 ? min(choice.top_k, found) : found;
  const float best = value_of(memory.candidates[0]);
  const bool of_all = choice.top_k == 0 && choice.top_p < 1;
  const double all = of_all ? block_total(sums, a.groups, memory) : 0;
  for (int i = int(threadIdx.x); i < count; i += int(blockDim.x))
    memory.weights[i] = exp(double(value_of(memory.candidates[i])) - double(best));
  __syncthreads();
  if (threadIdx.x == 0) {
    int kept = count;
    bool enough = true;
    if (choice.top_p < 1) {
      double total = all, sum = 0;
      if (!of_all)
        for (int i = 0; i < count; ++i) total += memory.weights[i];
      const double wanted = double(choice.top_p) * total;
      for (kept = 0; kept < count && (kept == 0 || sum < wanted); ++kept) sum += memory.weights[kept];
      enough = sum >= wanted || choice.top_k > 0 || count == a.width;
    }
    if (choice.log_min_p < 0)
      while (kept > 1 && value_of(memory.candidates[kept - 1]) < best + choice.log_min_p) --kept;
    memory.count = enough ? kept : 0;
  }
  __syncthreads();
  const int kept = memory.count;
  if (kept == 0) return kChooseOnHost;
  for (int i = int(threadIdx.x); i < kept; i += int(blockDim.x))
    memory.weights[i] = exp(double(value_of(memory.candidates[i]) / choice.temperature) -
                            double(best / choice.temperature));
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  double sum = 0;
  for (int i = 0; i < kept; ++i) sum += memory.weights[i];
  double left = choice.unit * sum;
  for (int i = 0; i < kept; ++i) {
    left -= memory.weights[i];
    if (left < 0) return id_of(memory.candidates[i]);
  }
  return id_of(memory.candidates[0]);
}

// Draws from the row in the order of the ids: nothing but min-p and the temperature.
__device__ int32_t draw_in_order(const SampleArgs& a, const SampleChoice& choice, const float* logits,
                                 const double* sums, uint64_t best, PickMemory& memory) {
  for (int i = int(threadIdx.x); i < a.groups; i += int(blockDim.x)) memory.weights[i] = sums[i];
  __syncthreads();
  if (threadIdx.x != 0) return 0;
  double sum = 0;
  for (int i = 0; i < a.groups; ++i) sum += memory.weights[i];
  double left = choice.unit * sum;
  int group = 0, last = -1;  // of a group that weighs something
  for (; group < a.groups; ++group) {
    if (memory.weights[group] > 0) last = group;
    if (left - memory.weights[group] < 0) break;
    left -= memory.weights[group];
  }
  group = min(group, a.groups - 1);
  if (!(memory.weights[group] > 0)) group = last;
  if (group < 0) return id_of(best);
  int32_t chosen = id_of(best);
  for (int64_t i = int64_t(group) * a.group; i < min(int64_t(group + 1) * a.group, int64_t(a.width)); ++i) {
    const double weight = weight_of(choice, logits[i], value_of(best));
    if (weight <= 0) continue;
    chosen = int32_t(i);  // rounding may leave a crumb behind the last of the group
    left -= weight;
    if (left < 0) break;
  }
  return chosen;
}

// A block for each row.
__global__ void __launch_bounds__(kPickThreads) pick_kernel(const SampleArgs a) {
  extern __shared__ char dynamic[];
  PickMemory& memory = *reinterpret_cast<PickMemory*>(dynamic);
  const int64_t row = blockIdx.x;
  const SampleChoice choice = a.choices[row];
  float* logits = a.logits.data + row * a.logits.stride;
  const double* sums = a.sums + row * a.groups;
  uint64_t best = 0;
  for (int i = int(threadIdx.x); i < a.groups; i += int(blockDim.x)) {
    memory.groups[i] = a.maxima[row * a.groups + i];
    best = max(best, memory.groups[i]);
  }
  best = block_best(best, memory.reduced);
  int32_t chosen;
  if (best == kUnusable || value_of(best) == -INFINITY || choice.on_host)
    chosen = kChooseOnHost;
  else if (choice.temperature == 0)
    chosen = id_of(best);
  else if (choice.top_k > 0 || choice.top_p < 1)
    chosen = draw_sorted(a, choice, logits, sums, memory);
  else
    chosen = draw_in_order(a, choice, logits, sums, best, memory);
  if (threadIdx.x == 0) {
    a.ids[row] = chosen;
    memory.chosen = chosen;
  }
  __syncthreads();
  if (memory.chosen != kChooseOnHost) return;
  for (int i = int(threadIdx.x); i < choice.change_count; i += int(blockDim.x))  // the logits as they were
    logits[a.changes[choice.first_change + i].id] = a.originals[choice.first_change + i];
}

}  // namespace

void launch(const SampleArgs& a, cudaStream_t stream) {
  if (a.rows == 0) return;
  const unsigned rows = unsigned(a.rows);
  if (a.has_changes) change_kernel<<<rows, kThreads, 0, stream>>>(a);
  const int64_t threads = int64_t(a.groups) * a.lanes;
  maxima_kernel<<<dim3(unsigned(divide_up(threads, kThreads)), rows), kThreads, 0, stream>>>(a);
  if (a.has_sums) {
    const dim3 grid(unsigned(divide_up(int64_t(a.groups) * kWarp, kThreads)), rows);
    sums_kernel<<<grid, kThreads, 0, stream>>>(a);
  }
  constexpr int kDefaultShared = 48 * 1024;
  if constexpr (sizeof(PickMemory) > kDefaultShared)
    (void)cudaFuncSetAttribute(pick_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(sizeof(PickMemory)));
  pick_kernel<<<rows, kPickThreads, sizeof(PickMemory), stream>>>(a);
}

}  // namespace metallic::cuda

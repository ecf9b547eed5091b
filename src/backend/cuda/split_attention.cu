// Attention of decoding: a block for each row, KV head and piece of the keys, for all query heads that share the KV
// head, so that keys and values are read once. The last block of a row and KV head to end puts the pieces together.
// Floor: the bytes of keys and values. Layout: half precision pages; a thread has a key's product with the queries,
// then eight elements of the values of every so many keys.
#include <cuda_fp16.h>

#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/quantise.cuh"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = kThreads;  // keys
constexpr int kMostWidth = 256, kMostGroup = 8, kPiece = 8;

__device__ void eight_halves(const uint4& v, float* out) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(words + i));
    out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
  }
}

__device__ const uint4* page_row(const Pages& pages, int page, int64_t head, int position) {
  return reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(pages.data) + page * pages.page_stride +
                                        head * pages.head_stride + position % pages.page_tokens * pages.token_stride);
}

// One output element of each of 32 lanes, which are neighbours in a head.
__device__ void write_output(const SplitAttentionArgs& s, int64_t row, int head, int at, float value) {
  const AttentionArgs& a = s.attention;
  a.out.data[row * a.out.row_stride + head * a.out.head_stride + at] = value;
  if (s.to.codes)  // 32 divides the width: a warp holds a group
    quantise_lane(value, row * a.heads * a.values.width + head * a.values.width + at / kWarp * kWarp, s.to.codes,
                  static_cast<ActivationGroup*>(s.to.groups));
}

// The pieces of one row and KV head to its outputs.
__device__ void combine(const SplitAttentionArgs& s, int64_t place_row, int64_t row, int kv_head, int group,
                        int active) {
  const AttentionArgs& a = s.attention;
  const int width = a.values.width, record = width + 2;
  for (int i = int(threadIdx.x); i < group * width; i += kThreads) {
    const int head = kv_head * group + i / width, at = i % width;
    const float* pieces = s.partial + (row * a.heads + head) * s.splits * record;
    float highest = a.sinks ? a.sinks[head] : -INFINITY;
    for (int k = 0; k < active; ++k) highest = fmaxf(highest, __ldcg(pieces + k * record));
    float sum = a.sinks ? expf(a.sinks[head] - highest) : 0.0f, value = 0;
    for (int k = 0; k < active; ++k) {
      const float factor = expf(__ldcg(pieces + k * record) - highest);
      sum = fmaf(factor, __ldcg(pieces + k * record + 1), sum);
      value = fmaf(factor, __ldcg(pieces + k * record + 2 + at), value);
    }
    write_output(s, place_row, head, at, value / sum);
  }
}

template <int kGroup>
__global__ void __launch_bounds__(kThreads) split_kernel(const __grid_constant__ SplitAttentionArgs s) {
  __shared__ float4 query_memory[kGroup * kMostWidth / 4];
  __shared__ float weights[kGroup][kTile];
  __shared__ float slots[kThreads * kPiece];
  __shared__ float highest[kGroup], sum[kGroup], rescale[kGroup];
  __shared__ int32_t page_of[kTile];
  __shared__ int last;
  float* query = reinterpret_cast<float*>(query_memory);
  const AttentionArgs& a = s.attention;
  let_next_start();
  // The tables of the batch are there before any kernel of the step starts.
  const int split = int(blockIdx.x), kv_head = int(blockIdx.y), group = a.heads / a.kv_heads;
  const int64_t row = blockIdx.z;
  const RowPlace place = a.places[row];
  const DeviceSequence sequence = a.sequences[place.sequence];
  const int position = sequence.position + place.row - sequence.first_row;
  const int known = sequence.position + sequence.rows, side = a.window / 2;
  const int begin = a.window > 0 ? max(0, a.causal ? position - a.window + 1 : position - side) : 0;
  const int end = a.causal ? position + 1 : a.window > 0 ? min(known, position + side + 1) : known;
  const int first = begin / s.tile_keys * s.tile_keys, active = (end - first + s.tile_keys - 1) / s.tile_keys;
  if (split >= active) {
    wait_for_previous();
    return;
  }
  const int from = first + split * s.tile_keys, to = min(end, from + s.tile_keys);

  const int width = a.keys.width, pieces = width / kPiece, warp = int(threadIdx.x) / kWarp,
            lane = int(threadIdx.x) % kWarp;
  const auto find_page = [&](int tile) {
    const int t = tile + int(threadIdx.x);
    page_of[threadIdx.x] = t < to ? sequence.pages[t / a.keys.page_tokens] : 0;
  };
  find_page(from);
  wait_for_previous();
  for (int i = int(threadIdx.x); i < kGroup * width; i += kThreads) {
    const int g = i / width;
    query[i] =
        g < group
            ? a.query.data[place.row * a.query.row_stride + (kv_head * group + g) * a.query.head_stride + i % width] *
                  a.scale
            : 0.0f;
  }
  const int key_slots = kThreads / pieces, slot = int(threadIdx.x) / pieces, piece = int(threadIdx.x) % pieces;
  float result[kGroup][kPiece] = {};
  if (threadIdx.x < kGroup) {
    highest[threadIdx.x] = -INFINITY;
    sum[threadIdx.x] = 0;
  }
  for (int tile = from; tile < to; tile += kTile) {
    __syncthreads();
    if (tile > from) {
      find_page(tile);
      __syncthreads();
    }
    const int t = tile + int(threadIdx.x);
    float dots[kGroup] = {};
    const bool seen = t >= begin && t < to;
    if (seen) {
      const uint4* key = page_row(a.keys, page_of[threadIdx.x], kv_head, t);
#pragma unroll 4
      for (int i = 0; i < pieces; ++i) {
        float k[kPiece];
        eight_halves(key[i], k);
        for (int g = 0; g < kGroup; ++g) {
          const float4 low = query_memory[(g * width + i * kPiece) / 4],
                       high = query_memory[(g * width + i * kPiece) / 4 + 1];
          dots[g] = fmaf(k[0], low.x, fmaf(k[1], low.y, fmaf(k[2], low.z, fmaf(k[3], low.w, dots[g]))));
          dots[g] = fmaf(k[4], high.x, fmaf(k[5], high.y, fmaf(k[6], high.z, fmaf(k[7], high.w, dots[g]))));
        }
      }
    }
    for (int g = 0; g < kGroup; ++g) {
      float score = seen ? dots[g] : -INFINITY;
      if (a.softcap > 0 && seen) score = a.softcap * tanhf(score / a.softcap);
      weights[g][threadIdx.x] = score;
    }
    __syncthreads();
    for (int g = warp; g < kGroup; g += kThreads / kWarp) {  // a warp for the scores of each head
      float scores[kTile / kWarp], most = -INFINITY, total = 0;
      for (int k = 0; k < kTile / kWarp; ++k) {
        scores[k] = weights[g][k * kWarp + lane];
        most = fmaxf(most, scores[k]);
      }
      const float before = highest[g];
      most = fmaxf(before, warp_max(most));
      const float factor = before == -INFINITY ? 0.0f : expf(before - most);
      for (int k = 0; k < kTile / kWarp; ++k) {
        const float weight = scores[k] == -INFINITY ? 0.0f : expf(scores[k] - most);
        weights[g][k * kWarp + lane] = weight;
        total += weight;
      }
      total = warp_sum(total);
      __syncwarp();
      if (lane == 0) {
        highest[g] = most;
        rescale[g] = factor;
        sum[g] = sum[g] * factor + total;
      }
    }
    __syncthreads();
    if (tile > from)
      for (int g = 0; g < kGroup; ++g)
        for (int k = 0; k < kPiece; ++k) result[g][k] *= rescale[g];
    if (slot < key_slots) {
      const int stop = min(kTile, to - tile);
#pragma unroll 4
      for (int k = slot; k < stop; k += key_slots) {
        if (tile + k < begin) continue;
        float v[kPiece];
        eight_halves(page_row(a.values, page_of[k], kv_head, tile + k)[piece], v);
        for (int g = 0; g < kGroup; ++g)
          for (int j = 0; j < kPiece; ++j) result[g][j] = fmaf(weights[g][k], v[j], result[g][j]);
      }
    }
  }
  for (int g = 0; g < kGroup; ++g) {
    if (g >= group) break;
    __syncthreads();
    if (slot < key_slots)
      for (int j = 0; j < kPiece; ++j) slots[slot * width + piece * kPiece + j] = result[g][j];
    __syncthreads();
    const int head = kv_head * group + g;
    float* record = s.partial + ((row * a.heads + head) * s.splits + split) * (width + 2);
    if (threadIdx.x == 0 && active > 1) {
      record[0] = highest[g];
      record[1] = sum[g];
    }
    for (int i = int(threadIdx.x); i < width; i += kThreads) {
      float value = 0;
      for (int k = 0; k < key_slots; ++k) value += slots[k * width + i];
      if (active > 1) {
        record[2 + i] = value;
        continue;
      }
      const float most = a.sinks ? fmaxf(highest[g], a.sinks[head]) : highest[g];
      const float factor = expf(highest[g] - most);
      const float total = sum[g] * factor + (a.sinks ? expf(a.sinks[head] - most) : 0.0f);
      write_output(s, place.row, head, i, value * factor / total);
    }
  }
  if (active == 1) return;  // nothing to put together
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* arrived = s.arrived + row * a.kv_heads + kv_head;
    last = atomicAdd(arrived, 1) == active - 1;
    if (last) *arrived = 0;  // for the next launch
  }
  __syncthreads();
  if (last) {
    __threadfence();
    combine(s, place.row, row, kv_head, group, active);
  }
}

}  // namespace

bool can_split(const AttentionArgs& a) {
  const auto fits = [](const Pages& pages) {
    return pages.format == Format::kF16 && pages.width % kPiece == 0 && pages.width <= kMostWidth &&
           pages.token_stride % kPiece == 0;
  };
  return fits(a.keys) && fits(a.values) && a.keys.width == a.values.width && a.heads / a.kv_heads <= kMostGroup;
}

namespace {
constexpr int kTileKeys = kTile;
int tile_keys(const AttentionArgs& a) { return a.longest > 64 * kTileKeys ? 8 * kTileKeys : kTileKeys; }
}  // namespace

int split_count(const AttentionArgs& a) {
  const int longest = a.window > 0 ? std::min(a.longest, a.window + tile_keys(a)) : a.longest;
  return int(divide_up(longest, tile_keys(a))) + 1;
}

uint64_t split_bytes(const AttentionArgs& a) {
  return uint64_t(a.rows) * uint64_t(a.heads) * uint64_t(split_count(a)) * uint64_t(a.values.width + 2) * sizeof(float);
}

void launch(const SplitAttentionArgs& args, cudaStream_t stream) {
  SplitAttentionArgs s = args;
  const AttentionArgs& a = s.attention;
  if (int64_t(a.rows) * a.heads == 0) return;
  s.tile_keys = tile_keys(a);
  s.splits = split_count(a);
  const dim3 grid(unsigned(s.splits), unsigned(a.kv_heads), unsigned(a.rows));
  const auto run = [&](auto kernel) { launch_kernel(kernel, grid, dim3(kThreads), 0, s.dependent != 0, s, stream); };
  const int group = a.heads / a.kv_heads;
  if (group == 1)
    run(split_kernel<1>);
  else if (group == 2)
    run(split_kernel<2>);
  else if (group <= 4)
    run(split_kernel<4>);
  else
    run(split_kernel<8>);
}

}  // namespace metallic::cuda

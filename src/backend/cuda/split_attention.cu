// Attention of decoding: a block for each row, KV head and piece of the keys, for up to eight query heads that share
// the KV head, so that keys and values are read once. The last block of a row and KV head to end puts the pieces
// together. Layout: half precision pages; those in other formats become that on their way (pages.cuh). Each warp has
// every so many sixteen keys to itself, two such tiles on their way to shared memory at a time: scores = keys (16 x
// width) * queries (width x 8), then values (width x 16) * weights (16 x 8) on the tensor cores, sums in float32 with a
// running maximum (arXiv:2205.14135). Floor: the bytes of keys and values; in short contexts the latency: keys and
// values of earlier steps are under way before the wait for the kernel ahead.
#include <cuda_fp16.h>

#include "backend/cuda/arrive.cuh"
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/pages.cuh"
#include "backend/cuda/quantise.cuh"
#include "backend/cuda/sixteen.cuh"

namespace metallic::cuda {
namespace {

constexpr int kTile = 16, kStages = 2, kHeads = 8, kPiece = 8;  // kPiece: halves that are copied at a time
constexpr int kMostWidth = 256;

__device__ void load_matrices(uint32_t* r, const __half* from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(uint32_t(__cvta_generic_to_shared(from)))
               : "memory");
}
__device__ void load_transposed(uint32_t* r, const __half* from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(uint32_t(__cvta_generic_to_shared(from)))
               : "memory");
}
// An 8 x 8 matrix, two halves of a row in each lane, transposed.
__device__ uint32_t transpose(uint32_t x) {
  uint32_t result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(x));
  return result;
}
// c += a (16 x 16) * b (16 x 8)
__device__ void multiply(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// What does not fit becomes the largest half.
__device__ uint32_t pack(float low, float high) {
  const __half2 pair =
      __floats2half2_rn(fminf(fmaxf(low, -65504.0f), 65504.0f), fminf(fmaxf(high, -65504.0f), 65504.0f));
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Eight numbers of a row of a page, which begins at `row` (in elements, or blocks of them), from number `at` on, to
// shared memory; zeros if not `there`.
template <bool kHalves>
__device__ void copy_numbers(__half* to, const Pages& pages, int64_t row, int at, bool there) {
  if constexpr (kHalves)
    copy_piece(to, static_cast<const __half*>(pages.data) + row + (there ? at : 0), there);
  else
    *reinterpret_cast<uint4*>(to) = there ? eight_halves(pages, row, at) : make_uint4(0, 0, 0, 0);
}

// Four neighbouring outputs of each lane, of lanes that follow one another; all lanes of a warp call it together.
__device__ void write_four(const SplitAttentionArgs& s, int64_t row, int head, int at, bool valid,
                           const float* values) {
  const AttentionArgs& a = s.attention;
  const int width = a.values.width, column = head * width + at;
  if (valid) {
    float* const to = a.out.data + row * a.out.row_stride + head * a.out.head_stride + at;
    if (reinterpret_cast<uintptr_t>(to) % sizeof(float4) == 0)
      *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
    else
      for (int k = 0; k < 4; ++k) to[k] = values[k];
    if (s.sixteen.data)
      for (int k = 0; k < 4; k += 2)
        *pair_of(s.sixteen, int(row), column + k, a.heads * width) =
            pair_bits(values[k], values[k + 1], s.sixteen.half != 0);
  }
  if (s.to.codes)  // 32 divides the width: eight lanes hold a group
    quantise_four(values, valid, row * a.heads * width + column, s.to.codes,
                  static_cast<ActivationGroup*>(s.to.groups));
}

// function(head, number in it, is there) for the fours of so many heads of width numbers, a four for each lane; whole
// warps.
template <class Function>
__device__ void for_fours(int heads, int width, const Function& function) {
  const int lane = int(threadIdx.x) % kWarp;
#pragma unroll 1
  for (int i = int(threadIdx.x) * 4; i - lane * 4 < heads * width; i += int(blockDim.x) * 4) {
    const int head = int(unsigned(i) / unsigned(width));
    function(min(head, heads - 1), i - head * width, head < heads);
  }
}

// The pieces of one row and KV head to the outputs of heads `first` and on.
__device__ __noinline__ void combine(const SplitAttentionArgs& s, int64_t place_row, int64_t row, int first, int heads,
                                     int active) {
  const AttentionArgs& a = s.attention;
  const int width = a.values.width, record = width + 2;
  for_fours(heads, width, [&](int n, int at, bool valid) {
    const int head = first + n;
    const float* pieces = s.partial + (row * a.heads + head) * s.splits * record;
    float highest = a.sinks ? a.sinks[head] : -INFINITY;
    for (int k = 0; k < active; ++k) highest = fmaxf(highest, __ldcg(pieces + k * record));
    float sum = a.sinks ? expf(a.sinks[head] - highest) : 0.0f, values[4] = {};
    for (int k = 0; k < active; ++k) {
      const float factor = expf(__ldcg(pieces + k * record) - highest);
      sum = fmaf(factor, __ldcg(pieces + k * record + 1), sum);
      for (int j = 0; j < 4; ++j) values[j] = fmaf(factor, __ldcg(pieces + k * record + 2 + at + j), values[j]);
    }
    for (int j = 0; j < 4; ++j) values[j] /= sum;
    write_four(s, place_row, head, at, valid, values);
  });
}

__device__ __noinline__ float capped(float score, float cap) { return cap * tanhf(score / cap); }

// The keys of a block.
struct Range {
  int begin, from, to;  // keys before `begin` are not seen
  int old;              // keys from here on are written by this step
};

// Where the sixteen positions from `base` on lie: keys (lanes 0 to 15) and values (the others), in elements or blocks;
// and a bit for each that this step writes.
struct TilePlace {
  int64_t row;
  unsigned current;
};
__device__ __noinline__ TilePlace place_of_tile(const AttentionArgs& a, const int32_t* table, Range range, int kv_head,
                                                int base) {
  const int lane = int(threadIdx.x) % kWarp, position = base + lane % kTile;
  const unsigned read = unsigned(min(position, range.to - 1)), page = read / unsigned(a.keys.page_tokens),
                 within = read - page * unsigned(a.keys.page_tokens);
  const Pages& mine = lane < kTile ? a.keys : a.values;
  return {table[page] * mine.page_stride + kv_head * mine.head_stride + int64_t(within) * mine.token_stride,
          __ballot_sync(kAllLanes, position >= range.old && position < range.to)};
}
// Those that are `wanted`, of which the first `count` are there, to shared memory; the others become zero. Not
// unrolled: code that runs once is waited for.
template <int kWidth, bool kHalves>
__device__ void copy_tile(const AttentionArgs& a, int64_t row, unsigned wanted, int count, __half* keys) {
  constexpr int kPieces = kWidth / kPiece, kStride = kWidth + kPiece;
  const int lane = int(threadIdx.x) % kWarp;
#pragma unroll 1
  for (int i = lane; i - lane < kTile * kPieces; i += kWarp) {
    const int key = i / kPieces, at = i % kPieces * kPiece;
    const int64_t key_row = __shfl_sync(kAllLanes, row, key), value_row = __shfl_sync(kAllLanes, row, kTile + key);
    if ((wanted >> key & 1) == 0) continue;
    const bool there = key < count && at < a.keys.width;
    copy_numbers<kHalves>(keys + key * kStride + at, a.keys, key_row, at, there);
    copy_numbers<kHalves>(keys + (kTile + key) * kStride + at, a.values, value_row, at, there);
  }
}

template <int kWidth, int kWarps, bool kHalves>
__global__ void __launch_bounds__(kWarps* kWarp) split_kernel(const __grid_constant__ SplitAttentionArgs s) {
  constexpr int kStride = kWidth + kPiece, kStage = 2 * kTile * kStride;
  constexpr int kPart = kWidth + 4;  // so that the lanes of a warp meet all banks
  extern __shared__ int4 memory[];
  __shared__ float highest_of[kWarps][kHeads], sum_of[kWarps][kHeads];
  __shared__ float times_of[kHeads][kWarps], highest_all[kHeads], sum_all[kHeads];
  __shared__ int last;
  const AttentionArgs& a = s.attention;
  let_next_start();
  // The tables of the batch are there before any kernel of the step starts.
  const int split = int(blockIdx.x), group = a.heads / a.kv_heads, blocks = (group + kHeads - 1) / kHeads;
  const int kv_head = int(blockIdx.y) / blocks, head_block = int(blockIdx.y) % blocks;
  const int first_head = kv_head * group + head_block * kHeads, heads = min(kHeads, group - head_block * kHeads);
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
  const int from = first + split * s.tile_keys;
  const Range range = {begin, from, min(end, from + s.tile_keys), sequence.position};

  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  __half* mine = reinterpret_cast<__half*>(memory) + warp * kStages * kStage;
  const auto base_of = [&](int tile) { return range.from + (tile * kWarps + warp) * kTile; };
  TilePlace places[kStages];
#pragma unroll
  for (int tile = 0; tile < kStages; ++tile) {
    places[tile].current = 0;
    if (base_of(tile) >= range.to) continue;
    places[tile] = place_of_tile(a, sequence.pages, range, kv_head, base_of(tile));
    copy_tile<kWidth, kHalves>(a, places[tile].row, ~places[tile].current, range.to - base_of(tile),
                               mine + tile * kStage);
  }
  wait_for_previous();

  // Element (k, n) of a matrix is number k of query n; this lane's: n = lane / 4.
  const int width = a.keys.width;
  float2 numbers[kWidth / 16][2];
  const float* from_query =
      a.query.data + place.row * a.query.row_stride + (first_head + min(lane / 4, heads - 1)) * a.query.head_stride;
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k)
    for (int half = 0; half < 2; ++half) {
      const int at = k * 16 + half * 8 + lane % 4 * 2;
      numbers[k][half] = at < width ? *reinterpret_cast<const float2*>(from_query + at) : make_float2(0, 0);
    }
#pragma unroll
  for (int tile = 0; tile < kStages; ++tile) {
    if (places[tile].current != 0)
      copy_tile<kWidth, kHalves>(a, places[tile].row, places[tile].current, range.to - base_of(tile),
                                 mine + tile * kStage);
    end_copies();
  }
  uint32_t query[kWidth / 16][2];
  const float scale = lane / 4 < heads ? a.scale : 0.0f;
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k)
    for (int half = 0; half < 2; ++half) query[k][half] = pack(numbers[k][half].x * scale, numbers[k][half].y * scale);

  // Of queries 2 * (lane % 4) and the next one.
  float result[kWidth / 16][4] = {}, highest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  for (int tile = 0; base_of(tile) < range.to; ++tile) {
    wait_for_copies<kStages - 1>();
    __syncwarp();
    const __half* keys = mine + tile % kStages * kStage;
    const __half* values = keys + kStage / 2;
    float scores[4] = {};
#pragma unroll
    for (int k = 0; k < kWidth / 16; ++k) {
      uint32_t m[4];
      load_matrices(m, keys + (lane % 16) * kStride + k * 16 + lane / 16 * 8);
      multiply(scores, m, query[k][0], query[k][1]);
    }
    float most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = base_of(tile) + lane / 4 + i / 2 * 8;
      if (a.softcap > 0) scores[i] = capped(scores[i], a.softcap);
      if (a.slopes)
        scores[i] -= a.slopes[first_head + min(lane % 4 * 2 + i % 2, heads - 1)] * float(abs(position - key));
      if (key < range.begin || key >= range.to) scores[i] = -INFINITY;
      most[i % 2] = fmaxf(most[i % 2], scores[i]);
    }
    float factor[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      for (int offset = 4; offset < kWarp; offset *= 2)
        most[i] = fmaxf(most[i], __shfl_xor_sync(kAllLanes, most[i], offset));
      most[i] = fmaxf(most[i], highest[i]);
      factor[i] = highest[i] == -INFINITY ? 0.0f : __expf(highest[i] - most[i]);
      highest[i] = most[i];
      sum[i] *= factor[i];
    }
    float weights[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[i] = scores[i] == -INFINITY ? 0.0f : __expf(scores[i] - highest[i % 2]);
      sum[i % 2] += weights[i];
    }
    const uint32_t low = transpose(pack(weights[0], weights[1])), high = transpose(pack(weights[2], weights[3]));
#pragma unroll
    for (int d = 0; d < kWidth / 16; ++d) {
      uint32_t m[4];
      load_transposed(m, values + (lane / 16 * 8 + lane % 8) * kStride + d * 16 + lane / 8 % 2 * 8);
      for (int i = 0; i < 4; ++i) result[d][i] *= factor[i % 2];
      multiply(result[d], m, low, high);
    }
    __syncwarp();
    if (const int base = base_of(tile + kStages); base < range.to)
      copy_tile<kWidth, kHalves>(a, place_of_tile(a, sequence.pages, range, kv_head, base).row, ~0u, range.to - base,
                                 mine + tile % kStages * kStage);
    end_copies();
  }

  // The warps' parts meet in shared memory.
  wait_for_copies<0>();
  __syncwarp();
  float* part = reinterpret_cast<float*>(mine);  // (heads, width), rows of kPart
#pragma unroll
  for (int i = 0; i < 2; ++i)
    for (int offset = 4; offset < kWarp; offset *= 2) sum[i] += __shfl_xor_sync(kAllLanes, sum[i], offset);
  for (int i = 0; i < 2 && lane < 4; ++i) {
    highest_of[warp][lane * 2 + i] = highest[i];
    sum_of[warp][lane * 2 + i] = sum[i];
  }
#pragma unroll
  for (int d = 0; d < kWidth / 16; ++d)
    for (int i = 0; i < 4; ++i) part[(lane % 4 * 2 + i % 2) * kPart + d * 16 + lane / 4 + i / 2 * 8] = result[d][i];
  __syncthreads();
  if (int(threadIdx.x) < kHeads) {  // what each warp's part of a head counts
    const int n = int(threadIdx.x);
    const float sink = active == 1 && a.sinks && n < heads ? a.sinks[first_head + n] : -INFINITY;
    float most = sink, total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) most = fmaxf(most, highest_of[w][n]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float times = highest_of[w][n] == -INFINITY ? 0.0f : __expf(highest_of[w][n] - most);
      times_of[n][w] = times;
      total = fmaf(times, sum_of[w][n], total);
    }
    if (sink != -INFINITY) total += expf(sink - most);
    highest_all[n] = most;
    sum_all[n] = total;
  }
  __syncthreads();
  for_fours(heads, width, [&](int n, int at, bool valid) {
    float values[4] = {};
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float4 v = *reinterpret_cast<const float4*>(reinterpret_cast<const float*>(memory) +
                                                        w * kStages * kStage / 2 + n * kPart + at);
      const float times = times_of[n][w];
      values[0] = fmaf(times, v.x, values[0]);
      values[1] = fmaf(times, v.y, values[1]);
      values[2] = fmaf(times, v.z, values[2]);
      values[3] = fmaf(times, v.w, values[3]);
    }
    if (active == 1) {
      for (int j = 0; j < 4; ++j) values[j] /= sum_all[n];
      write_four(s, place.row, first_head + n, at, valid, values);
    } else if (valid) {
      float* record = s.partial + ((row * a.heads + first_head + n) * s.splits + split) * (width + 2);
      if (at == 0) {
        record[0] = highest_all[n];
        record[1] = sum_all[n];
      }
      for (int j = 0; j < 4; ++j) record[2 + at + j] = values[j];
    }
  });
  if (active == 1) return;  // nothing to put together
  if (is_last_to_arrive(s.arrived + row * gridDim.y + blockIdx.y, active, &last))
    combine(s, place.row, row, first_head, heads, active);
}

int head_blocks(const AttentionArgs& a) { return int(divide_up(a.heads / a.kv_heads, kHeads)); }

// A block's keys: one block for up to 512, as its end costs less than putting pieces together; else enough blocks to
// fill the GPU.
int tile_keys(const AttentionArgs& a) {
  constexpr int64_t kBlocks = 264, kStep = 128, kShortest = 256, kAlone = 512;
  if (a.longest <= kAlone) return int(kAlone);
  const int64_t rows = int64_t(a.rows) * a.kv_heads * head_blocks(a);
  const int64_t longest = a.window > 0 ? std::min<int64_t>(a.longest, a.window) : a.longest;
  return int(std::max(divide_up(longest * rows, kBlocks * kStep) * kStep, kShortest));
}

}  // namespace

bool can_split(const AttentionArgs& a) {
  const auto fits = [&](const Pages& pages) {
    return pages.format == a.keys.format && has_halves(pages.format) && pages.width % 16 == 0 &&
           pages.width <= kMostWidth && has_aligned_rows(pages);
  };
  const Heads& query = a.query;
  return fits(a.keys) && fits(a.values) && a.keys.width == a.values.width &&
         reinterpret_cast<uintptr_t>(query.data) % 8 == 0 && query.row_stride % 2 == 0 && query.head_stride % 2 == 0;
}

int split_count(const AttentionArgs& a) {
  const int longest = a.window > 0 ? std::min(a.longest, a.window + tile_keys(a)) : a.longest;
  return int(divide_up(longest, tile_keys(a))) + (a.window > 0);
}

uint64_t split_bytes(const AttentionArgs& a) {
  return uint64_t(a.rows) * uint64_t(a.heads) * uint64_t(split_count(a)) * uint64_t(a.values.width + 2) * sizeof(float);
}
int64_t split_counters(const AttentionArgs& a) { return int64_t(a.rows) * a.kv_heads * head_blocks(a); }

void launch(const SplitAttentionArgs& args, cudaStream_t stream) {
  SplitAttentionArgs s = args;
  const AttentionArgs& a = s.attention;
  if (int64_t(a.rows) * a.heads == 0) return;
  s.tile_keys = tile_keys(a);
  s.splits = split_count(a);
  const dim3 grid(unsigned(s.splits), unsigned(a.kv_heads * head_blocks(a)), unsigned(a.rows));
  const auto run = [&]<int kWidth, int kWarps>(std::integral_constant<int, kWidth>,
                                               std::integral_constant<int, kWarps>) {
    constexpr size_t kShared = size_t(kWarps) * kStages * 2 * kTile * (kWidth + kPiece) * sizeof(__half);
    const auto kernel =
        a.keys.format == Format::kF16 ? split_kernel<kWidth, kWarps, true> : split_kernel<kWidth, kWarps, false>;
    launch_kernel(kernel, grid, dim3(kWarps * kWarp), kShared, s.dependent != 0, s, stream);
  };
  // Where there are blocks for all multiprocessors, smaller ones, of which several share one.
  constexpr std::integral_constant<int, 4> kFew;
  constexpr std::integral_constant<int, 8> kMany;
  constexpr unsigned kManyBlocks = 128;
  const bool small = a.rows > kMostTokens && grid.x * grid.y * grid.z > kManyBlocks;
  if (a.keys.width <= 64)
    small ? run(std::integral_constant<int, 64>{}, kFew) : run(std::integral_constant<int, 64>{}, kMany);
  else if (a.keys.width <= 128)
    small ? run(std::integral_constant<int, 128>{}, kFew) : run(std::integral_constant<int, 128>{}, kMany);
  else
    run(std::integral_constant<int, 256>{}, kFew);
}

}  // namespace metallic::cuda

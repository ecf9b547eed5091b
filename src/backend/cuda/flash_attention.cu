// Attention of many rows (prompts) on the tensor cores: a block for 64 query rows of a head, a warp for 16 of them,
// keys and values in tiles of 64 (or 32) through shared memory, the next tile under way while this one is multiplied;
// an online softmax in registers (arXiv:2205.14135). Layout: half precision pages; those in other formats become that
// on their way (pages.cuh). Queries and weights are rounded to half precision, sums are float32. Floor: 4 * rows * keys
// * width operations a head, half of that if causal.
#include <cuda_fp16.h>

#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/pages.cuh"
#include "backend/cuda/wide.cuh"

namespace metallic::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp, kRows = kWarps * 16;
constexpr int kMostKeys = 64;                                                              // of a tile
constexpr int keys_of_tile(int width) { return width > 128 ? kMostKeys / 2 : kMostKeys; }  // two fit in 99 KB
constexpr float kLog2E = 1.44269504f;

__device__ uint32_t pack(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Where the keys and values of one tile lie, from their first page on, in numbers.
struct Places {
  int64_t keys[kMostKeys], values[kMostKeys];
};

template <int kWidth>
constexpr int kTileHalves = keys_of_tile(kWidth) * (kWidth + 8);  // rows begin in different banks

// Keys and values of a tile on their way to shared memory; zeros from position `end` on.
template <int kWidth, bool kHalves>
__device__ void fetch(const AttentionArgs& a, const Places& places, int kv_head, int tile, int end, __half* to) {
  constexpr int kPieces = kWidth / 8, kKeys = keys_of_tile(kWidth);
#pragma unroll
  for (int i = int(threadIdx.x); i < kKeys * kPieces; i += kThreads) {
    const int key = i / kPieces, piece = i % kPieces;
    const bool valid = tile + key < end;
    const int64_t k = places.keys[key] + kv_head * a.keys.head_stride;
    const int64_t v = places.values[key] + kv_head * a.values.head_stride;
    __half* at = to + key * (kWidth + 8) + piece * 8;
    if constexpr (kHalves) {
      copy_piece(at, static_cast<const uint16_t*>(a.keys.data) + k + piece * 8, valid);
      copy_piece(at + kTileHalves<kWidth>, static_cast<const uint16_t*>(a.values.data) + v + piece * 8, valid);
    } else {
      const uint4 none = make_uint4(0, 0, 0, 0);
      *reinterpret_cast<uint4*>(at) = valid ? eight_halves(a.keys, k, piece * 8) : none;
      *reinterpret_cast<uint4*>(at + kTileHalves<kWidth>) = valid ? eight_halves(a.values, v, piece * 8) : none;
    }
  }
  end_copies();
}

template <int kWidth, bool kHalves>
__global__ void __launch_bounds__(kThreads, kWidth <= 64    ? 4
                                            : kWidth <= 128 ? 3
                                                            : 1) flash_kernel(const __grid_constant__ FlashArgs f) {
  constexpr int kStride = kWidth + 8, kKeys = keys_of_tile(kWidth);
  extern __shared__ __align__(16) __half memory[];
  __shared__ Places places[2];
  const AttentionArgs& a = f.attention;
  const DeviceSequence sequence = a.sequences[blockIdx.z];
  const int head = int(blockIdx.y), kv_head = head / (a.heads / a.kv_heads);
  const int tile_row = (int(gridDim.x) - 1 - int(blockIdx.x)) * kRows;  // the longest first
  if (tile_row >= sequence.rows) return;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int known = sequence.position + sequence.rows, side = a.window / 2;
  const int last_row = min(tile_row + kRows, sequence.rows) - 1;
  const int first_position = sequence.position + tile_row, last_position = sequence.position + last_row;
  const int begin = a.window > 0 ? max(0, a.causal ? first_position - a.window + 1 : first_position - side) : 0;
  const int end = a.causal ? last_position + 1 : a.window > 0 ? min(known, last_position + side + 1) : known;

  // This lane's rows: those of lane / 4 and 8 further.
  const int rows[2] = {tile_row + warp * 16 + lane / 4, tile_row + warp * 16 + lane / 4 + 8};
  uint32_t query[kWidth / 16][4];
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k)
#pragma unroll
    for (int half = 0; half < 4; ++half) {
      const int row = rows[half % 2], column = k * 16 + half / 2 * 8 + lane % 4 * 2;
      float x = 0, y = 0;
      if (row < sequence.rows) {
        const float* from =
            a.query.data + (sequence.first_row + row) * a.query.row_stride + head * a.query.head_stride + column;
        x = from[0] * a.scale, y = from[1] * a.scale;
      }
      query[k][half] = pack(x, y);
    }
  float result[kWidth / 8][4] = {};
  float highest[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};

  const auto find = [&](int tile, Places& to) {
    const int t = tile + int(threadIdx.x);
    if (threadIdx.x >= kKeys) return;
    const int page = t < end ? sequence.pages[t / a.keys.page_tokens] : 0;
    to.keys[threadIdx.x] = t < end ? place_on_page(a.keys, page, t) : 0;
    to.values[threadIdx.x] = t < end ? place_on_page(a.values, page, t) : 0;
  };
  const int first_tile = begin / kKeys * kKeys;
  find(first_tile, places[0]);
  find(first_tile + kKeys, places[1]);
  __syncthreads();
  if (first_tile < end) fetch<kWidth, kHalves>(a, places[0], kv_head, first_tile, end, memory);
  for (int tile = first_tile, stage = 0; tile < end; tile += kKeys, stage ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    const __half* keys = memory + stage * 2 * kTileHalves<kWidth>;
    const __half* values = keys + kTileHalves<kWidth>;
    if (tile + kKeys < end)
      fetch<kWidth, kHalves>(a, places[1 - stage], kv_head, tile + kKeys, end,
                             memory + (1 - stage) * 2 * kTileHalves<kWidth>);
    find(tile + 2 * kKeys, places[stage]);

    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int n = 0; n < kKeys / 8; n += 2)
#pragma unroll
      for (int k = 0; k < kWidth / 16; ++k) {
        uint32_t b[4];
        load_matrices(b, keys + (n * 8 + lane / 16 * 8 + lane % 8) * kStride + k * 16 + lane / 8 % 2 * 8);
        multiply_half(scores[n], query[k], b[0], b[1]);
        multiply_half(scores[n + 1], query[k], b[2], b[3]);
      }
    if (a.softcap > 0) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[n][i] = a.softcap * tanhf(scores[n][i] / a.softcap);
    }
    if (a.slopes) {
      const float slope = a.slopes[head];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          scores[n][i] -= slope * float(abs(sequence.position + rows[i / 2] - (tile + n * 8 + lane % 4 * 2 + i % 2)));
    }
    // Most tiles are seen as a whole by all rows.
    if (a.window > 0 || tile + kKeys > end || (a.causal && tile + kKeys > first_position + 1)) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int position = sequence.position + rows[i / 2], t = tile + n * 8 + lane % 4 * 2 + i % 2;
          const bool seen = t < end && (a.causal ? t <= position && (a.window == 0 || t > position - a.window)
                                                 : a.window == 0 || (t >= position - side && t <= position + side));
          if (!seen) scores[n][i] = -INFINITY;
        }
    }
    float most[2] = {highest[0], highest[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) most[i / 2] = fmaxf(most[i / 2], scores[n][i]);
    float factor[2];
    for (int r = 0; r < 2; ++r) {
      most[r] = fmaxf(most[r], __shfl_xor_sync(kAllLanes, most[r], 1));
      most[r] = fmaxf(most[r], __shfl_xor_sync(kAllLanes, most[r], 2));
      factor[r] = highest[r] == -INFINITY ? 0.0f : exp2f((highest[r] - most[r]) * kLog2E);
      highest[r] = most[r];
      sum[r] *= factor[r];
      most[r] = most[r] == -INFINITY ? 0.0f : most[r] * kLog2E;
    }
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = fast_exp2(fmaf(scores[n][i], kLog2E, -most[i / 2]));
        sum[i / 2] += scores[n][i];
      }
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n)
      for (int i = 0; i < 4; ++i) result[n][i] *= factor[i / 2];
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const uint32_t weights[4] = {pack(scores[2 * k][0], scores[2 * k][1]), pack(scores[2 * k][2], scores[2 * k][3]),
                                   pack(scores[2 * k + 1][0], scores[2 * k + 1][1]),
                                   pack(scores[2 * k + 1][2], scores[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kWidth / 8; n += 2) {
        uint32_t v[4];
        load_matrices_transposed(v, values + (k * 16 + lane % 16) * kStride + (n + lane / 16) * 8);
        multiply_half(result[n], weights, v[0], v[1]);
        multiply_half(result[n + 1], weights, v[2], v[3]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 1);
    sum[r] += __shfl_xor_sync(kAllLanes, sum[r], 2);
    float factor = 1;
    if (a.sinks) {  // takes part in the softmax, and has no value
      const float most = fmaxf(highest[r], a.sinks[head]);
      factor = exp2f((highest[r] - most) * kLog2E);
      sum[r] = sum[r] * factor + exp2f((a.sinks[head] - most) * kLog2E);
    }
    factor /= sum[r];
    if (rows[r] >= sequence.rows) continue;
    const int64_t row = sequence.first_row + rows[r];
    float* out = a.out.data ? a.out.data + row * a.out.row_stride + head * a.out.head_stride : nullptr;
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
      const int column = n * 8 + lane % 4 * 2;
      const float x = result[n][2 * r] * factor, y = result[n][2 * r + 1] * factor;
      if (out) out[column] = x, out[column + 1] = y;
      if (f.to.data)
        *pair_of(f.to, int(row), head * kWidth + column, a.heads * kWidth) = pair_bits(x, y, f.to.half != 0);
    }
  }
}

template <int kWidth>
void launch_width(const FlashArgs& f, cudaStream_t stream) {
  const AttentionArgs& a = f.attention;
  constexpr size_t kShared = size_t(4) * kTileHalves<kWidth> * sizeof(__half);
  const dim3 grid(unsigned(divide_up(a.most_rows, kRows)), unsigned(a.heads), unsigned(a.sequence_count));
  const auto kernel = a.keys.format == Format::kF16 ? flash_kernel<kWidth, true> : flash_kernel<kWidth, false>;
  launch_kernel(kernel, grid, dim3(kThreads), kShared, false, f, stream);
}

}  // namespace

bool can_flash(const AttentionArgs& a) {
  const int width = a.keys.width;
  return has_halves(a.keys.format) && a.values.format == a.keys.format && a.values.width == width &&
         (width == 64 || width == 96 || width == 128 || width == 256) && has_aligned_rows(a.keys) &&
         has_aligned_rows(a.values);
}

void launch(const FlashArgs& a, cudaStream_t stream) {
  switch (a.attention.keys.width) {
    case 64:
      return launch_width<64>(a, stream);
    case 96:
      return launch_width<96>(a, stream);
    case 128:
      return launch_width<128>(a, stream);
    default:
      return launch_width<256>(a, stream);
  }
}

}  // namespace metallic::cuda

// KV pages, and attention in float32: a block for each query row and head, keys in tiles of 128 with an online softmax.
// The order of the sums depends on the query's position alone, so the bits are the same in any batch.
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"
#include "backend/cuda/pages.cuh"
#include "base/half.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = kThreads;  // keys
constexpr int kMostValues = 8;   // of a thread: values of up to 1024 elements

using Block = quant::Q8_0::Block;

// Element i of the row that begins at `row`.
__device__ float load_page(const Pages& pages, int64_t row, int i) {
  switch (pages.format) {
    case Format::kF16:
      return half_to_float(static_cast<const uint16_t*>(pages.data)[row + i]);
    case Format::kBF16:
      return bfloat16_to_float(static_cast<const uint16_t*>(pages.data)[row + i]);
    case Format::kF8_E4M3:
      return e4m3_to_float(static_cast<const uint8_t*>(pages.data)[row + i]);
    case Format::kQ8_0: {
      const Block& block = static_cast<const Block*>(pages.data)[row + i / quant::Q8_0::kBlock];
      return float(block.scale) * float(block.codes[i % quant::Q8_0::kBlock]);
    }
    default:
      return static_cast<const float*>(pages.data)[row + i];
  }
}
// Where the row of a head at a position of a sequence begins: in elements, or blocks of them.
__device__ int64_t page_row(const Pages& pages, const DeviceSequence& sequence, int64_t head, int position) {
  return place_on_page(pages, sequence.pages[position / pages.page_tokens], position) + head * pages.head_stride;
}

// One row of a head to its page, by all threads of a block.
__device__ void store_row(const Pages& pages, int64_t row, const float* values) {
  if (pages.format == Format::kQ8_0) {  // a thread for each block
    for (int i = int(threadIdx.x); i < pages.width / quant::Q8_0::kBlock; i += int(blockDim.x))
      quant::Q8_0::encode(values + i * quant::Q8_0::kBlock, static_cast<Block*>(pages.data)[row + i]);
    return;
  }
  for (int i = int(threadIdx.x); i < pages.width; i += int(blockDim.x)) store_page(pages, row + i, values[i]);
}

// A block for each row and head.
__global__ void store_kernel(const StoreArgs a) {
  const int64_t listed = blockIdx.x / unsigned(a.kv_heads), head = blockIdx.x % unsigned(a.kv_heads);
  const RowPlace place = a.places[listed];
  const DeviceSequence sequence = a.sequences[place.sequence];
  const int position = sequence.position + place.row - sequence.first_row;
  const float* key = a.key.data + place.row * a.key.row_stride + head * a.key.head_stride;
  const float* value = a.value.data + place.row * a.value.row_stride + head * a.value.head_stride;
  store_row(a.keys, page_row(a.keys, sequence, head, position), key);
  store_row(a.values, page_row(a.values, sequence, head, position), value);
}

__global__ void attention_kernel(const AttentionArgs a) {
  extern __shared__ float memory[];  // query, then the weights of a tile
  __shared__ float shared[kWarp + 1];
  const int64_t listed = blockIdx.x / unsigned(a.heads), head = blockIdx.x % unsigned(a.heads);
  const RowPlace place = a.places[listed];
  const DeviceSequence sequence = a.sequences[place.sequence];
  const int64_t kv_head = head / (a.heads / a.kv_heads);
  const int position = sequence.position + place.row - sequence.first_row;
  const int known = sequence.position + sequence.rows, side = a.window / 2;
  const int begin = a.window > 0 ? max(0, a.causal ? position - a.window + 1 : position - side) : 0;
  const int end = a.causal ? position + 1 : a.window > 0 ? min(known, position + side + 1) : known;
  const int d = a.keys.width, dv = a.values.width;

  float* query = memory;
  float* weights = memory + d;
  for (int i = int(threadIdx.x); i < d; i += kThreads)
    query[i] = a.query.data[place.row * a.query.row_stride + head * a.query.head_stride + i];
  float highest = a.sinks ? a.sinks[head] : -INFINITY;
  float sum = a.sinks ? 1.0f : 0.0f;  // the same in all threads
  float result[kMostValues] = {};
  __syncthreads();

  for (int tile = begin / kTile * kTile; tile < end; tile += kTile) {
    const int t = tile + int(threadIdx.x);
    float score = -INFINITY;
    if (t >= begin && t < end) {
      const int64_t at = page_row(a.keys, sequence, kv_head, t);
      float dot = 0;
      for (int i = 0; i < d; ++i) dot = fmaf(query[i], load_page(a.keys, at, i), dot);
      score = dot * a.scale;
      if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
      if (a.slopes) score -= a.slopes[head] * float(abs(position - t));
    }
    const float before = highest;
    highest = fmaxf(highest, block_max(score, shared));
    const float weight = score == -INFINITY ? 0.0f : expf(score - highest);
    const float rescale = before == -INFINITY ? 0.0f : expf(before - highest);
    weights[threadIdx.x] = weight;
    sum = sum * rescale + block_sum(weight, shared);
    __syncthreads();
    for (int j = 0; j < kMostValues; ++j) {
      const int i = int(threadIdx.x) + j * kThreads;
      if (i >= dv) break;
      float value = result[j] * rescale;
      for (int k = max(0, begin - tile); k < min(kTile, end - tile); ++k)
        value = fmaf(weights[k], load_page(a.values, page_row(a.values, sequence, kv_head, tile + k), i), value);
      result[j] = value;
    }
    __syncthreads();
  }
  float* out = a.out.data + place.row * a.out.row_stride + head * a.out.head_stride;
  for (int j = 0; j < kMostValues; ++j) {
    const int i = int(threadIdx.x) + j * kThreads;
    if (i < dv) out[i] = result[j] / sum;
  }
}

}  // namespace

void launch(const StoreArgs& a, cudaStream_t stream) {
  if (int64_t(a.rows) * a.kv_heads == 0) return;
  store_kernel<<<unsigned(int64_t(a.rows) * a.kv_heads), 64, 0, stream>>>(a);
}

void launch(const AttentionArgs& a, cudaStream_t stream) {
  if (int64_t(a.rows) * a.heads == 0) return;
  const size_t shared = size_t(a.keys.width + kTile) * sizeof(float);
  attention_kernel<<<unsigned(int64_t(a.rows) * a.heads), kThreads, shared, stream>>>(a);
}

}  // namespace metallic::cuda

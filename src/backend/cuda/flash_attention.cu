// Attention of many rows (prompts) on the tensor cores: a block for 64 query rows of a head, a warp for 16 of them,
// keys and values in tiles of 64 through shared memory, an online softmax in registers (arXiv:2205.14135). Queries and
// weights are rounded to half precision, sums are float32. Floor: 4 * rows * keys * width operations a head, half of
// that if causal.
#include <cuda_fp16.h>

#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"

namespace metallic::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp, kRows = kWarps * 16, kKeys = 64;
constexpr float kLog2E = 1.44269504f;

__device__ uint32_t pack(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// c += a (16 x 16) * b (16 x 8)
__device__ void multiply(float* c, const uint32_t* a, uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ void load_transposed(uint32_t* r, const __half* from) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(from));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) flash_kernel(const __grid_constant__ AttentionArgs a) {
  constexpr int kStride = kWidth + 8;  // halves; rows begin in different banks
  extern __shared__ __half memory[];
  __half* keys = memory;
  __half* values = memory + kKeys * kStride;
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
  for (int k = 0; k < kWidth / 16; ++k)
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

  for (int tile = begin / kKeys * kKeys; tile < end; tile += kKeys) {
    __syncthreads();
    for (int i = int(threadIdx.x); i < kKeys * kWidth / 8; i += kThreads) {
      const int key = i / (kWidth / 8), piece = i % (kWidth / 8), t = tile + key;
      uint4 k = make_uint4(0, 0, 0, 0), v = k;
      if (t < end) {
        const int page = sequence.pages[t / a.keys.page_tokens], in_page = t % a.keys.page_tokens;
        k = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(a.keys.data) + page * a.keys.page_stride +
                                            kv_head * a.keys.head_stride + in_page * a.keys.token_stride + piece * 8);
        v = *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(a.values.data) + page * a.values.page_stride +
                                            kv_head * a.values.head_stride + in_page * a.values.token_stride +
                                            piece * 8);
      }
      *reinterpret_cast<uint4*>(keys + key * kStride + piece * 8) = k;
      *reinterpret_cast<uint4*>(values + key * kStride + piece * 8) = v;
    }
    __syncthreads();

    float scores[kKeys / 8][4] = {};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int k = 0; k < kWidth / 16; ++k) {
        const __half* at = keys + (n * 8 + lane / 4) * kStride + k * 16 + lane % 4 * 2;
        multiply(scores[n], query[k], *reinterpret_cast<const uint32_t*>(at),
                 *reinterpret_cast<const uint32_t*>(at + 8));
      }
    const bool edge = tile + kKeys > first_position || tile < last_position - a.window + 1 + side || a.window > 0 ||
                      tile + kKeys > end;
    float most[2] = {highest[0], highest[1]};
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& score = scores[n][i];
        if (a.softcap > 0) score = a.softcap * tanhf(score / a.softcap);
        if (edge) {
          const int position = sequence.position + rows[i / 2], t = tile + n * 8 + lane % 4 * 2 + i % 2;
          const bool seen = t < end && (a.causal ? t <= position && (a.window == 0 || t > position - a.window)
                                                 : a.window == 0 || (t >= position - side && t <= position + side));
          if (!seen) score = -INFINITY;
        }
        most[i / 2] = fmaxf(most[i / 2], score);
      }
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
        scores[n][i] = exp2f(fmaf(scores[n][i], kLog2E, -most[i / 2]));
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
        load_transposed(v, values + (k * 16 + lane % 16) * kStride + (n + lane / 16) * 8);
        multiply(result[n], weights, v[0], v[1]);
        multiply(result[n + 1], weights, v[2], v[3]);
      }
    }
  }
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
    float* out =
        a.out.data + (sequence.first_row + rows[r]) * a.out.row_stride + head * a.out.head_stride + lane % 4 * 2;
    for (int n = 0; n < kWidth / 8; ++n) {
      out[n * 8] = result[n][2 * r] * factor;
      out[n * 8 + 1] = result[n][2 * r + 1] * factor;
    }
  }
}

template <int kWidth>
void launch_width(const AttentionArgs& a, cudaStream_t stream) {
  constexpr size_t kShared = size_t(2) * kKeys * (kWidth + 8) * sizeof(__half);
  const dim3 grid(unsigned(divide_up(a.most_rows, kRows)), unsigned(a.heads), unsigned(a.sequence_count));
  if (kShared > 48 * 1024)
    (void)cudaFuncSetAttribute(flash_kernel<kWidth>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(kShared));
  launch_kernel(flash_kernel<kWidth>, grid, dim3(kThreads), kShared, false, a, stream);
}

}  // namespace

bool can_flash(const AttentionArgs& a) {
  const int width = a.keys.width;
  return a.keys.format == Format::kF16 && a.values.format == Format::kF16 && a.values.width == width &&
         (width == 64 || width == 96 || width == 128 || width == 256) && a.keys.token_stride % 8 == 0 &&
         a.values.token_stride % 8 == 0;
}

void launch_flash(const AttentionArgs& a, cudaStream_t stream) {
  switch (a.keys.width) {
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

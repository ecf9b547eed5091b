// Weights as they lie in the file, through the decode() of their format: any format, in float32. A warp for each row of
// the weight; a lane takes every 32nd group. The order of a sum depends on the columns alone, so an output has the same
// bits in any batch. Bound by instructions, not by memory: the tuned formats have planes (planes.h).
#include "backend/cuda/device.cuh"
#include "backend/cuda/launch.h"
#include "quant/formats.h"

namespace metallic::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTokens = 4;  // of x that a warp takes at once

// The groups of one row.
template <class F>
struct RowReader {
  const char* row;

  static constexpr int group_size() {
    if constexpr (quant::Grouped<F>)
      return F::kGroup;
    else
      return 1;
  }
  // weights[i] = the weights of a group, each rounded as the format defines it.
  __device__ void read(int64_t group, float* weights) const {
    const auto* blocks = reinterpret_cast<const typename F::Block*>(row);
    if constexpr (quant::Grouped<F>) {
      constexpr int kGroups = F::kBlock / F::kGroup;
      int8_t codes[F::kGroup];
      float scale, offset;
      F::decode(blocks[group / kGroups], int(group % kGroups), codes, scale, offset);
      for (int i = 0; i < F::kGroup; ++i) {
        weights[i] = scale * float(codes[i]);
        if constexpr (F::kHasOffset) weights[i] += offset;
      }
    } else {
      weights[0] = F::to_float(blocks[group]);
    }
  }
};

// sums[n] = the row times x[n], the same in all lanes.
template <class F>
__device__ void row_products(const char* row, int64_t columns, const float* x, int64_t x_stride, int tokens,
                             float* sums) {
  constexpr int kGroup = RowReader<F>::group_size();
  const RowReader<F> reader{row};
  for (int n = 0; n < kTokens; ++n) sums[n] = 0;
  for (int64_t group = threadIdx.x % kWarp; group < columns / kGroup; group += kWarp) {
    float weights[kGroup];
    reader.read(group, weights);
    for (int n = 0; n < kTokens; ++n) {
      if (n >= tokens) break;
      const float* values = x + n * x_stride + group * kGroup;
      float sum = 0;
      for (int i = 0; i < kGroup; ++i) sum = fmaf(weights[i], values[i], sum);
      sums[n] += sum;
    }
  }
  for (int n = 0; n < kTokens; ++n) sums[n] = warp_sum(sums[n]);
}

template <class F>
__global__ void linear_kernel(const LinearArgs::Target target, const Rows x, int rows) {
  const int m = int(blockIdx.x) * kWarps + int(threadIdx.x) / kWarp, first = int(blockIdx.y) * kTokens;
  if (m >= target.weight.rows) return;
  const int tokens = min(kTokens, rows - first);
  float sums[kTokens];
  row_products<F>(static_cast<const char*>(target.weight.codes) + m * target.weight.row_bytes, target.weight.columns,
                  x.data + first * x.stride, x.stride, tokens, sums);
  for (int n = 0; n < kTokens; ++n)
    if (n < tokens && threadIdx.x % kWarp == unsigned(n)) {
      float* out = target.out.data + (first + n) * target.out.stride + m;
      const float product = sums[n] + (target.bias ? target.bias[m] : 0.0f);
      *out = target.accumulate ? *out + product : product;
    }
}

template <class F>
__global__ void experts_kernel(const ExpertsArgs a) {
  const int m = int(blockIdx.x) * kWarps + int(threadIdx.x) / kWarp;
  const int64_t pair = blockIdx.y;
  if (m >= a.rows) return;
  const int expert = a.ids[pair];
  const WeightRef weight = a.experts[expert];
  float sums[kTokens];
  row_products<F>(static_cast<const char*>(weight.codes) + m * weight.row_bytes, weight.columns,
                  a.x.data + (a.own_rows ? pair : pair / a.used) * a.x.stride, 0, 1, sums);
  if (threadIdx.x % kWarp == 0)
    a.out.data[pair * a.out.stride + m] = sums[0] + (a.bias ? a.bias[int64_t(expert) * a.rows + m] : 0.0f);
}

// A block for each row. Without ids row i is row i; out_format is F32 or BF16.
template <class F>
__global__ void decode_kernel(const WeightRef weight, const int32_t* ids, float scale, Rows out) {
  constexpr int kGroup = RowReader<F>::group_size();
  const int64_t row = ids ? max(ids[blockIdx.x], 0) : int(blockIdx.x);  // kChooseOnHost: any
  const RowReader<F> reader{static_cast<const char*>(weight.codes) + row * weight.row_bytes};
  float* to = out.data + int64_t(blockIdx.x) * out.stride;
  for (int64_t group = threadIdx.x; group < weight.columns / kGroup; group += blockDim.x) {
    float weights[kGroup];
    reader.read(group, weights);
    for (int i = 0; i < kGroup; ++i) to[group * kGroup + i] = weights[i] * scale;
  }
}

}  // namespace

void launch_blocks(const LinearArgs& a, cudaStream_t stream) {
  for (int i = 0; i < a.count; ++i) {
    const LinearArgs::Target& target = a.targets[i];
    if (int64_t(target.weight.rows) * a.rows == 0) continue;
    const dim3 grid(unsigned(divide_up(target.weight.rows, kWarps)), unsigned(divide_up(a.rows, kTokens)));
    quant::visit_format(target.weight.format, [&]<class F>(F) {
      linear_kernel<F><<<grid, kWarps * kWarp, 0, stream>>>(target, a.x, a.rows);
    });
  }
}

void launch_blocks(const ExpertsArgs& a, cudaStream_t stream) {
  if (int64_t(a.pairs) * a.rows == 0) return;
  const dim3 grid(unsigned(divide_up(a.rows, kWarps)), unsigned(a.pairs));
  quant::visit_format(a.format, [&]<class F>(F) { experts_kernel<F><<<grid, kWarps * kWarp, 0, stream>>>(a); });
}

void launch_blocks(const EmbedArgs& a, cudaStream_t stream) {
  if (a.count == 0 || a.weight.columns == 0) return;
  quant::visit_format(a.weight.format, [&]<class F>(F) {
    decode_kernel<F><<<unsigned(a.count), 128, 0, stream>>>(a.weight, a.ids, a.scale, a.out);
  });
}

}  // namespace metallic::cuda

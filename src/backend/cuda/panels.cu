// Weights to dense bfloat16, for a product by a library. Floor: the bytes read and written once.
#include <cuda_bf16.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/planes.cuh"
#include "backend/cuda/wide.cuh"
#include "quant/formats.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 256;

// The weights of a unit: codes become floats by being put into the mantissa of one, which takes no conversion.
template <class P>
__device__ void unit_floats(const PlaneUnit<P>& unit, float* out) {
  constexpr bool kBytes = P::kBits == 8;
#pragma unroll
  for (int j = 0; j < P::kUnit / 4; ++j) {
    float factor, offset;
    unit.factors(kBytes ? 0 : j / 4, factor, offset);
    uint32_t word;
    if constexpr (kBytes)
      word = unit.codes[j] ^ 0x80808080u;
    else
      word = unit.word(j);
#pragma unroll
    for (int b = 0; b < 4; ++b) {  // 2^23 + code, or 128 + code
      const uint32_t bits = kBytes ? __byte_perm(word, 0x4b, 0x4550 + b) : __byte_perm(word, 0x43, 0x4055 + 0x100 * b);
      const float code = __uint_as_float(bits) - (kBytes ? 8388608.0f + 128.0f : 128.0f + float(P::kZero));
      out[4 * j + b] = fmaf(code, factor, offset);
    }
  }
}

// A thread for each unit. The warp's pieces go through shared memory, so that it stores 512 bytes in a row.
template <class P>
__global__ void __launch_bounds__(kThreads)
    planes_to_bf16_kernel(const WeightRef weight, int row, int64_t units, uint4* out) {
  constexpr int kPieces = P::kUnit / 8;  // of 16 bytes
  __shared__ uint4 shared[kThreads * kPieces];
  const PlaneReader<P> reader(weight, row);  // rows follow one another without a gap
  const int lane = int(threadIdx.x) % kWarp;
  const int64_t mine = global_thread(), first = mine - lane;
  uint4* pieces = shared + (threadIdx.x - lane) * kPieces;
  const auto place = [&](int unit, int piece) {  // eight lanes that follow one another meet all banks
    return unit * kPieces + (piece ^ (unit * kPieces / 8 & (kPieces - 1)));
  };
  if (mine < units) {
    float weights[P::kUnit];
    unit_floats(reader.load(int(mine)), weights);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) pieces[place(lane, i)] = eight_bits_of(weights + 8 * i, false);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kPieces; ++i) {
    const int at = i * kWarp + lane;
    if (first + at / kPieces < units) out[first * kPieces + at] = pieces[place(at / kPieces, at % kPieces)];
  }
}

// From blocks of any format, and plain numbers.
template <class F>
__global__ void blocks_to_bf16_kernel(const WeightRef weight, int row, int rows, __nv_bfloat16* out) {
  if constexpr (quant::Grouped<F>) {
    constexpr int kGroups = F::kBlock / F::kGroup;
    const int groups = weight.columns / F::kGroup;
    for (int64_t i = global_thread(); i < int64_t(rows) * groups; i += global_threads()) {
      const auto* blocks = reinterpret_cast<const typename F::Block*>(static_cast<const char*>(weight.codes) +
                                                                      (row + i / groups) * weight.row_bytes);
      const int group = int(i % groups);
      int8_t codes[F::kGroup];
      float weights[F::kGroup], scale, offset;
      F::decode(blocks[group / kGroups], group % kGroups, codes, scale, offset);
      for (int k = 0; k < F::kGroup; ++k) weights[k] = fmaf(scale, float(codes[k]), F::kHasOffset ? offset : 0.0f);
      for (int k = 0; k < F::kGroup; k += 8)
        *reinterpret_cast<uint4*>(out + i * F::kGroup + k) = eight_bits_of(weights + k, false);
    }
  } else {
    const int columns = weight.columns;
    for (int64_t i = global_thread(); i < int64_t(rows) * columns; i += global_threads()) {
      const auto* numbers = reinterpret_cast<const typename F::Block*>(static_cast<const char*>(weight.codes) +
                                                                       (row + i / columns) * weight.row_bytes);
      out[i] = __float2bfloat16_rn(F::to_float(numbers[i % columns]));
    }
  }
}

__global__ void add_bias_kernel(const Rows out, int rows, int width, const float* bias) {
  for (int64_t i = global_thread(); i < int64_t(rows) * width; i += global_threads())
    out.data[i / width * out.stride + i % width] += bias[i % width];
}

}  // namespace

void launch_add_bias(const Rows& out, int rows, int width, const float* bias, cudaStream_t stream) {
  add_bias_kernel<<<grid_for(int64_t(rows) * width, kThreads), kThreads, 0, stream>>>(out, rows, width, bias);
}

void launch_to_bf16(const WeightRef& weight, int row, int rows, void* out, cudaStream_t stream) {
  if (rows == 0 || weight.columns == 0) return;
  if (weight.layout == Layout::kPlanes)
    visit_planes(weight.format, [&]<class P>(P) {
      const int64_t units = int64_t(rows) * weight.columns / P::kUnit;
      planes_to_bf16_kernel<P>
          <<<unsigned(divide_up(units, kThreads)), kThreads, 0, stream>>>(weight, row, units, static_cast<uint4*>(out));
    });
  else
    quant::visit_format(weight.format, [&]<class F>(F) {
      blocks_to_bf16_kernel<F><<<grid_for(int64_t(rows) * weight.columns / 32, kThreads), kThreads, 0, stream>>>(
          weight, row, rows, static_cast<__nv_bfloat16*>(out));
    });
}

}  // namespace metallic::cuda

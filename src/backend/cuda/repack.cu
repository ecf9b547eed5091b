// From the blocks of the file to planes, and from planes to floats: rows for the embedding. Floor: the bytes read and
// written once.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/planes.cuh"
#include "quant/formats.h"

namespace metallic::cuda {
namespace {

constexpr int kThreads = 256;

template <class P>
struct FormatOf;
#define METALLIC_FORMAT(name)     \
  template <>                     \
  struct FormatOf<Planes##name> { \
    using Type = quant::name;     \
  };
METALLIC_FORMAT(Q4_0)
METALLIC_FORMAT(Q4_1)
METALLIC_FORMAT(Q5_0)
METALLIC_FORMAT(Q5_1)
METALLIC_FORMAT(Q8_0)
METALLIC_FORMAT(Q4_K)
METALLIC_FORMAT(Q5_K)
METALLIC_FORMAT(Q6_K)
#undef METALLIC_FORMAT

__device__ uint16_t bits_of(const quant::Half& half) { return half.bits; }

// A thread for each group of 32, numbered from `first` in the whole weight; the blocks begin with that of `first`.
template <class P>
__global__ void repack_kernel(const void* blocks, int64_t first, int64_t count, const PlanePointers to) {
  using F = typename FormatOf<P>::Type;
  constexpr int kPerBlock = F::kBlock / 32, kParts = 32 / F::kGroup;
  const int64_t i = global_thread();
  if (i >= count) return;
  const int64_t group = first + i;
  const typename F::Block& block = static_cast<const typename F::Block*>(blocks)[i / kPerBlock];
  int8_t codes[32];
  for (int part = 0; part < kParts; ++part) {
    float scale, offset;
    F::decode(block, int(i % kPerBlock) * kParts + part, codes + part * F::kGroup, scale, offset);
  }
  if constexpr (P::kBits == 8) {
    for (int k = 0; k < 32; ++k) to.codes[group * 32 + k] = uint8_t(codes[k]);
  } else {
    uint32_t high[2] = {0, 0};
    for (int k = 0; k < 32; ++k) codes[k] = int8_t(codes[k] + P::kZero);
    for (int k = 0; k < 16; ++k) to.codes[group * 16 + k] = uint8_t((codes[k] & 15) | (codes[k + 16] & 15) << 4);
    for (int k = 0; k < 32; ++k) {
      const uint32_t rest = uint32_t(codes[k]) >> 4;
      if constexpr (P::kBits == 5) high[0] |= rest << (k / 4 + 8 * (k % 4));
      if constexpr (P::kBits == 6) high[k / 16] |= rest << (2 * (k / 4 % 4) + 8 * (k % 4));
    }
    if constexpr (P::kBits == 5) reinterpret_cast<uint32_t*>(to.high)[group] = high[0];
    if constexpr (P::kBits == 6) reinterpret_cast<uint2*>(to.high)[group] = make_uint2(high[0], high[1]);
  }
  auto* scales = reinterpret_cast<uint16_t*>(to.scales);
  auto* supers = reinterpret_cast<uint16_t*>(to.supers);
  if constexpr (P::kScale == ScaleKind::kHalf) scales[group] = bits_of(block.scale);
  if constexpr (P::kScale == ScaleKind::kHalfPair) {
    scales[2 * group] = bits_of(block.scale);
    scales[2 * group + 1] = bits_of(block.minimum);
  }
  if constexpr (P::kScale == ScaleKind::kSuper) {
    const int j = int(group % 8);
    scales[group] = uint16_t(quant::k_scale(block.scales, j) | quant::k_minimum(block.scales, j) << 8);
    if (j == 0) {
      supers[group / 8 * 2] = bits_of(block.scale);
      supers[group / 8 * 2 + 1] = bits_of(block.minimum);
    }
  }
  if constexpr (P::kScale == ScaleKind::kSigned) {
    const int j = int(group % 8);
    scales[group] = uint16_t(uint8_t(block.scales[2 * j]) | uint8_t(block.scales[2 * j + 1]) << 8);
    if (j == 0) supers[group / 8] = bits_of(block.scale);
  }
}

// A block for each row; a thread takes units.
template <class P>
__global__ void embed_kernel(const EmbedArgs a) {
  let_next_start();
  const PlaneReader<P> reader(a.weight, max(a.ids[blockIdx.x], 0));  // kChooseOnHost: any
  float* out = a.out.data + int64_t(blockIdx.x) * a.out.stride;
  for (int unit = int(threadIdx.x); unit < a.weight.columns / P::kUnit; unit += int(blockDim.x)) {
    float weights[P::kUnit];
    reader.load(unit).weights(unit, weights);
    for (int i = 0; i < P::kUnit; ++i) out[unit * P::kUnit + i] = weights[i] * a.scale;
  }
}

}  // namespace

void launch_repack(Format format, const void* blocks, int64_t first, int64_t groups, const PlanePointers& to,
                   cudaStream_t stream) {
  visit_planes(format, [&]<class P>(P) {
    repack_kernel<P><<<unsigned(divide_up(groups, kThreads)), kThreads, 0, stream>>>(blocks, first, groups, to);
  });
}

void launch_planes(const EmbedArgs& a, cudaStream_t stream) {
  if (a.count == 0 || a.weight.columns == 0) return;
  visit_planes(a.weight.format, [&]<class P>(P) { embed_kernel<P><<<unsigned(a.count), 128, 0, stream>>>(a); });
}

}  // namespace metallic::cuda

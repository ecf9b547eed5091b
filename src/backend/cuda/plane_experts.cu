// The matrices of a mixture in planes against activations of eight bits. Floor: the bytes of the experts that are used.
#include "backend/cuda/dependent.cuh"
#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/planes.cuh"

namespace metallic::cuda {
namespace {

constexpr int kExpertWarps = 8;

// A warp for two rows of the expert of a (row, expert) pair.
template <class P>
__global__ void __launch_bounds__(kExpertWarps* kWarp) experts_kernel(const __grid_constant__ PlaneExpertsArgs a) {
  const ExpertsArgs& e = a.experts;
  const int row = (int(blockIdx.x) * kExpertWarps + int(threadIdx.x) / kWarp) * 2, lane = int(threadIdx.x) % kWarp;
  const int64_t pair = blockIdx.y;
  if (row >= e.rows) return;
  const int expert = e.ids[pair];
  const WeightRef weight = e.experts[expert];
  const PlaneReader<P> first(weight, row), second(weight, row + 1 < e.rows ? row + 1 : row);
  const int64_t x_row = e.own_rows ? pair : pair / e.used;
  float sums[2] = {};
  for (int unit = lane; unit < e.columns / P::kUnit; unit += kWarp) {
    const PlaneUnit<P> one = first.load(unit), two = second.load(unit);
    const int64_t at = x_row * e.columns + unit * P::kUnit;
    int words[P::kUnit / 4];
    for (int i = 0; i < P::kUnit / 4; ++i) words[i] = reinterpret_cast<const int*>(a.x.codes + at)[i];
    const ActivationGroup group = static_cast<const ActivationGroup*>(a.x.groups)[at / 32];
    sums[0] += one.dot(words, group);
    sums[1] += two.dot(words, group);
  }
  for (float& sum : sums) sum = warp_sum(sum);
  if (lane < 2 && row + lane < e.rows)
    e.out.data[pair * e.out.stride + row + lane] =
        (lane == 0 ? sums[0] : sums[1]) + (e.bias ? e.bias[int64_t(expert) * e.rows + row + lane] : 0.0f);
}

}  // namespace

void launch(const PlaneExpertsArgs& a, cudaStream_t stream) {
  if (int64_t(a.experts.pairs) * a.experts.rows == 0) return;
  const dim3 grid(unsigned(divide_up(a.experts.rows, 2 * kExpertWarps)), unsigned(a.experts.pairs));
  visit_planes(a.experts.format, [&]<class P>(P) {
    launch_kernel(experts_kernel<P>, grid, dim3(kExpertWarps * kWarp), 0, false, a, stream);
  });
}

}  // namespace metallic::cuda

// The epilogues of the matrix-vector kernels: what a thread does with the sums of its rows.
#pragma once

#include "backend/activation.h"
#include "backend/cuda/matvec_rows.cuh"
#include "backend/cuda/pages.cuh"
#include "backend/cuda/quantise.cuh"

namespace metallic::cuda {

// What a thread will write: a row of each run for a token.
struct Output {
  int target, token;  // token -1: nothing
  int a, b;           // rows; b -1: none
  float bias_a, bias_b;
  // kAttention
  int rotated;
  float sine, cosine;
  int64_t stored_a, stored_b;  // places in the pages; -1: nowhere
};

// Sine and cosine of any angle that float32 holds to a fraction of a turn.
__device__ inline void sine_cosine(float angle, float& sine, float& cosine) {
  const double turns = double(angle) * 0.15915494309189533577;
  sincospif(2.0f * float(turns - rint(turns)), &sine, &cosine);
}

__device__ inline const Pages& pages_of(const MatvecArgs& args, const MatvecArgs::Target& target) {
  return target.store == 1 ? args.keys : args.values;
}

// Of number `i` of each run of `rows`, for a token.
template <int kEpilogue>
__device__ inline Output output_of(const MatvecArgs& args, const RowGroup& rows, int i, int token) {
  Output out = {0, -1, 0, -1, 0, 0, 0, 0, 0, -1, -1};
  if (token >= args.tokens) return out;
  out.target = rows.target;
  out.a = rows.a + (i << rows.step_bit);
  out.b = rows.b + (i << rows.step_bit);
  const MatvecArgs::Target &first = args.targets[rows.target], &second = args.targets[rows.second_target];
  if (out.a >= first.weight.rows) return out;
  out.token = token;
  if (out.b >= second.weight.rows) out.b = -1;
  if (first.bias) out.bias_a = __ldg(first.bias + out.a);
  if (second.bias && out.b >= 0) out.bias_b = __ldg(second.bias + out.b);
  if (!is_epilogue<kEpilogue>(args, Epilogue::kAttention)) return out;
  if (first.store != 0) {
    const Pages& pages = pages_of(args, first);
    const int4 place = *reinterpret_cast<const int4*>(args.places + token);
    const int64_t row = place_on_page(pages, place.w, place.z);
    const auto place_of = [&](int at) {
      const int head = at / first.head_width;
      return row + head * pages.head_stride + at - head * first.head_width;
    };
    out.stored_a = place_of(out.a);
    if (out.b >= 0) out.stored_b = place_of(out.b);
  }
  if (first.pairs == 0) return out;
  const int in_head = out.a % first.head_width, rotated = first.interleaved ? in_head / 2 : in_head;
  if (rotated < first.pairs) {
    out.rotated = 1;
    sine_cosine(float(args.positions[token]) * first.frequencies[rotated], out.sine, out.cosine);
    out.sine *= first.magnitude;
    out.cosine *= first.magnitude;
  }
  return out;
}

// All that can be known before the step, so that behind the wait there is little to do.
template <int kEpilogue, bool kRest>
__device__ inline Output prepare(const MatvecArgs& args, int tile, int part_bits) {
  const int pairs_bit = 5 - part_bits, token = int(threadIdx.x) >> pairs_bit;
  const int pair = int(threadIdx.x) & ((1 << pairs_bit) - 1);
  static_assert(kRun * kWarps == 1 << 5);
  return output_of<kEpilogue>(args, rows_of_tile<kEpilogue, kRest>(args, tile, pair / kRun), pair % kRun, token);
}

template <int kEpilogue>
__device__ inline void write_row(const MatvecArgs& args, const Output& to, int row, int64_t stored, float value,
                                 float residual) {
  const MatvecArgs::Target& target = args.targets[to.target];
  float* out = target.out.data + to.token * target.out.stride + row;
  if (target.accumulate) value += *out;
  *out = value;
  if (target.residual) target.residual[to.token * target.residual_stride + row] = residual + value;
  if (is_epilogue<kEpilogue>(args, Epilogue::kAttention) && stored >= 0)
    store_page(pages_of(args, target), stored, value);
}

static __device__ __noinline__ float any_gated_value(Activation activation, float a, float b, float clamp) {
  return gated_value(activation, a, b, clamp);
}

// Whether this warp is the last of so many to have written its part of something, and so sees all parts. The counter is
// zero before and afterwards.
__device__ inline bool is_last_warp(int32_t* counter, int warps) {
  const int lane = int(threadIdx.x) % kWarp;
  __threadfence();
  __syncwarp();
  int arrived = 0;
  if (lane == 0) arrived = atomicAdd(counter, 1);
  if (__shfl_sync(kAllLanes, arrived, 0) != warps - 1) return false;
  if (lane == 0) *counter = 0;  // for the next launch
  __threadfence();
  return true;
}

// A warp has 32 neighbours of a token: a group. Of a smaller tile, one token's, the warp that is the last to come reads
// them all.
template <bool kRest>
__device__ inline void quantise_gated(const MatvecArgs& args, int tile, float value) {
  const MatvecArgs::Target& gate = args.targets[0];
  int64_t at = int64_t(int(threadIdx.x) / kWarp) * gate.weight.rows + tile * kWarp;
  if (kRest && tile >= args.tiles) {
    const int lane = int(threadIdx.x) % kWarp, group = (tile - args.tiles) >> args.rest_bits;
    at = int64_t(args.tiles + group) * kWarp;
    if (!is_last_warp(args.arrived + group, 1 << args.rest_bits)) return;
    value = __ldcg(gate.out.data + at + lane);
  }
  quantise_lane(value, at, args.to.codes, static_cast<ActivationGroup*>(args.to.groups));
}

// The products of rows a and b of a thread; whole warps call it together.
template <int kEpilogue, bool kRest = false>
__device__ inline void finish(const MatvecArgs& args, const Output& to, int tile, float a, float b, float residual_a,
                              float residual_b) {
  a += to.bias_a;
  b += to.bias_b;
  if (is_epilogue<kEpilogue>(args, Epilogue::kGated)) {  // target 0 is what goes through the activation
    const MatvecArgs::Target &gate = args.targets[0], &up = args.targets[1];
    const float value = args.activation == Activation::kSilu && args.clamp <= 0
                            ? __fdividef(a, 1.0f + __expf(-a)) * b
                            : any_gated_value(args.activation, a, b, args.clamp);
    if (to.token >= 0) {
      gate.out.data[to.token * gate.out.stride + to.a] = value;
      up.out.data[to.token * up.out.stride + to.a] = b;
    }
    if (args.to.codes && __any_sync(kAllLanes, to.token >= 0)) quantise_gated<kRest>(args, tile, value);
    return;
  }
  if (to.token < 0) return;
  if (is_epilogue<kEpilogue>(args, Epilogue::kAttention) && to.rotated) {
    const float x = a;
    a = x * to.cosine - b * to.sine;
    b = x * to.sine + b * to.cosine;
  }
  write_row<kEpilogue>(args, to, to.a, to.stored_a, a, residual_a);
  if (to.b >= 0) write_row<kEpilogue>(args, to, to.b, to.stored_b, b, residual_b);
}

}  // namespace metallic::cuda

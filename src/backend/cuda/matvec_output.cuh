// The epilogues of the matrix-vector kernels: what a thread does with the sums of its rows.
#pragma once

#include "backend/activation.h"
#include "backend/cuda/matvec_rows.cuh"
#include "backend/cuda/quantise.cuh"

namespace metallic::cuda {

// What a thread will write: a row of each run for a token.
struct Output {
  int target, token;  // token -1: nothing
  int a, b;           // rows; b -1: none
  float bias_a, bias_b;
  float position, frequency;  // kAttention; position -1: not rotated
  int page, within;           // kAttention: the row's page, and its place there
};

// Begins to read what is there before the step; nothing here waits for it.
template <int kEpilogue>
__device__ inline Output prepare(const MatvecArgs& args, int tile) {
  const int pairs_bit = 5 - args.part_bits, token = int(threadIdx.x) >> pairs_bit;
  const int pair = int(threadIdx.x) & ((1 << pairs_bit) - 1), i = pair % kRun;
  static_assert(kRun * kWarps == 1 << 5);
  Output out = {0, -1, 0, -1, 0, 0, -1, 0, 0, 0};
  if (token >= args.tokens) return out;
  const RowGroup rows = rows_of_tile<kEpilogue>(args, tile, pair / kRun);
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
    const int4 place = *reinterpret_cast<const int4*>(args.places + token);
    out.within = place.z;
    out.page = place.w;
  }
  if (first.pairs == 0) return out;
  const int in_head = out.a % first.head_width, rotated = first.interleaved ? in_head / 2 : in_head;
  if (rotated < first.pairs) {
    out.position = float(args.positions[token]);
    out.frequency = first.frequencies[rotated];
  }
  return out;
}

__device__ inline void store_page(const Pages& pages, int64_t at, float value) {
  if (pages.format == Format::kF16)
    static_cast<__half*>(pages.data)[at] = __float2half_rn(value);
  else
    static_cast<float*>(pages.data)[at] = value;
}

template <int kEpilogue>
__device__ inline void write_row(const MatvecArgs& args, const Output& to, int row, float value, float residual) {
  const MatvecArgs::Target& target = args.targets[to.target];
  float* out = target.out.data + to.token * target.out.stride + row;
  if (target.accumulate) value += *out;
  *out = value;
  if (target.residual) target.residual[to.token * target.residual_stride + row] = residual + value;
  if (is_epilogue<kEpilogue>(args, Epilogue::kAttention) && target.store != 0) {
    const Pages& pages = target.store == 1 ? args.keys : args.values;
    const int head = row / target.head_width;
    store_page(pages,
               to.page * pages.page_stride + head * pages.head_stride +
                   to.within % pages.page_tokens * pages.token_stride + row - head * target.head_width,
               value);
  }
}

static __device__ __noinline__ float any_gated_value(Activation activation, float a, float b, float clamp) {
  return gated_value(activation, a, b, clamp);
}

// Sine and cosine of any angle that float32 holds to a fraction of a turn.
__device__ inline void sine_cosine(float angle, float& sine, float& cosine) {
  const double turns = double(angle) * 0.15915494309189533577;
  sincospif(2.0f * float(turns - rint(turns)), &sine, &cosine);
}

// The products of rows a and b of a thread; whole warps call it together.
template <int kEpilogue>
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
    // A warp has 32 neighbours of a token: a group.
    if (args.to.codes && __any_sync(kAllLanes, to.token >= 0))
      quantise_lane(value, int64_t(int(threadIdx.x) / kWarp) * gate.weight.rows + tile * kWarp, args.to.codes,
                    static_cast<ActivationGroup*>(args.to.groups));
    return;
  }
  if (to.token < 0) return;
  if (is_epilogue<kEpilogue>(args, Epilogue::kAttention) && to.position >= 0) {
    float sine, cosine;
    sine_cosine(to.position * to.frequency, sine, cosine);
    sine *= args.targets[to.target].magnitude;
    cosine *= args.targets[to.target].magnitude;
    const float x = a;
    a = x * cosine - b * sine;
    b = x * sine + b * cosine;
  }
  write_row<kEpilogue>(args, to, to.a, a, residual_a);
  if (to.b >= 0) write_row<kEpilogue>(args, to, to.b, b, residual_b);
}

}  // namespace metallic::cuda

// The rows of the matrix-vector kernels: how they are read and what they are multiplied by, 16 bytes of a row at a
// time, and which of them a warp has.
#pragma once

#include <cuda_bf16.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/fast.h"
#include "backend/cuda/planes.cuh"

namespace metallic::cuda {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kRows = 8, kRun = 4;  // of a warp

// How rows are read, 16 bytes at a time: `Unit load(unit)` counts from the beginning of the first one.
template <class P>
struct PlaneRow {
  static constexpr int kUnit = P::kUnit, kBits = P::kBits;
  static constexpr bool kPlanes = true;
  using Unit = PlaneUnit<P>;
  PlaneReader<P> reader;
  PlaneRow() = default;
  __device__ PlaneRow(const WeightRef& weight, int row) : reader(weight, row) {}
  __device__ static int units(const WeightRef& weight) { return weight.columns / kUnit; }
  __device__ Unit load(int unit) const { return reader.load(unit); }
  __device__ const void* at(int unit) const { return reader.codes + unit; }
};
// What rows are multiplied by.
struct PlaneSource {
  const int8_t* codes;
  const ActivationGroup* groups;
};
template <class P>
struct PlaneInput {
  using Source = PlaneSource;
  int words[P::kUnit / 4];
  ActivationGroup group;
  __device__ void load(const MatvecArgs& a, const Source& x, int token, int unit, bool valid) {
    const int64_t at = int64_t(token) * a.columns + unit * P::kUnit;
    const int4* from = reinterpret_cast<const int4*>(x.codes + at);
#pragma unroll
    for (int i = 0; i < P::kUnit / 16; ++i) {
      const int4 v = from[i];
      words[4 * i] = v.x, words[4 * i + 1] = v.y, words[4 * i + 2] = v.z, words[4 * i + 3] = v.w;
    }
    group = x.groups[at / 32];
    if (!valid) group.scale = 0;
  }
  __device__ float dot(const PlaneUnit<P>& unit) const { return unit.dot(words, group); }
};

struct Float32 {
  static constexpr int kUnit = 4;
  __device__ static void floats(const uint4& v, float* out) {
    out[0] = __uint_as_float(v.x), out[1] = __uint_as_float(v.y);
    out[2] = __uint_as_float(v.z), out[3] = __uint_as_float(v.w);
  }
};
struct Float16 {
  static constexpr int kUnit = 8;
  __device__ static void floats(const uint4& v, float* out) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(words + i));
      out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
  }
};
struct BFloat16 {
  static constexpr int kUnit = 8;
  __device__ static void floats(const uint4& v, float* out) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
};
template <class Number>
struct FloatRow {
  static constexpr int kUnit = Number::kUnit, kBits = 128 / kUnit;
  static constexpr bool kPlanes = false;
  using Unit = uint4;
  const uint4* row;
  FloatRow() = default;
  __device__ FloatRow(const WeightRef& weight, int row_number)
      : row(reinterpret_cast<const uint4*>(static_cast<const char*>(weight.codes) + row_number * weight.row_bytes)) {}
  __device__ static int units(const WeightRef& weight) { return int(weight.row_bytes / 16); }
  __device__ Unit load(int unit) const { return load_once(row + unit); }
  __device__ const void* at(int unit) const { return row + unit; }
};
struct FloatSource {
  const float* x;
  int64_t stride;
};
template <class Number>
struct FloatInput {
  using Source = FloatSource;
  float x[Number::kUnit];
  __device__ void load(const MatvecArgs&, const Source& source, int token, int unit, bool valid) {
    const float4* from = reinterpret_cast<const float4*>(source.x + token * source.stride + unit * Number::kUnit);
#pragma unroll
    for (int i = 0; i < Number::kUnit / 4; ++i) {
      const float4 v = from[i];
      x[4 * i] = valid ? v.x : 0, x[4 * i + 1] = valid ? v.y : 0;
      x[4 * i + 2] = valid ? v.z : 0, x[4 * i + 3] = valid ? v.w : 0;
    }
  }
  __device__ float dot(const uint4& unit) const {
    float weights[Number::kUnit];
    Number::floats(unit, weights);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < Number::kUnit; ++i) sum = fmaf(weights[i], x[i], sum);
    return sum;
  }
};

// Eight rows: a, a + step, … of target `target`, and b, b + step, … of the same or (gated) the next one; step is
// 1 << step_bit.
struct RowGroup {
  int target, second_target;
  int a, b, step_bit;
};

// What the epilogue is where it is known when the kernel is compiled; else kAnyEpilogue.
constexpr int kAnyEpilogue = -1;
template <int kEpilogue>
__device__ inline bool is_epilogue(const MatvecArgs& args, Epilogue which) {
  return kEpilogue == kAnyEpilogue ? args.epilogue == which : Epilogue(kEpilogue) == which;
}

// Group `group` of a target. Rows of a pair (of rope, of a gate) are at the same place of the two runs.
template <int kEpilogue>
__device__ inline RowGroup rows_of_group(const MatvecArgs& args, int t, int group) {
  if (is_epilogue<kEpilogue>(args, Epilogue::kGated)) return {0, 1, kRun * group, kRun * group, 0};
  const MatvecArgs::Target& target = args.targets[t];
  if (is_epilogue<kEpilogue>(args, Epilogue::kAttention) && target.pairs > 0) {
    if (target.interleaved) return {t, t, kRows * group, kRows * group + 1, 1};
    const int half = target.head_width / 2, head = kRun * group / half, i = kRun * group - head * half;
    const int base = head * target.head_width;
    if (i < target.pairs) return {t, t, base + i, base + i + target.pairs, 0};
    return {t, t, base + 2 * i, base + 2 * i + kRun, 0};
  }
  return {t, t, kRows * group, kRows * group + kRun, 0};
}
// kRest: there may be MatvecArgs::rest_tiles.
template <int kEpilogue, bool kRest = false>
__device__ inline RowGroup rows_of_tile(const MatvecArgs& args, int tile, int group) {
  int t = 0;
  if (!is_epilogue<kEpilogue>(args, Epilogue::kGated))
    for (int i = 1; i < LinearArgs::kTargets; ++i) t += i < args.count && tile >= args.targets[i].first_tile;
  const int groups = kRest && tile >= args.tiles
                         ? args.tiles * kWarps + ((tile - args.tiles) * kWarps >> args.rest_bits)
                         : (tile - args.targets[t].first_tile) * kWarps >> args.part_bits;
  return rows_of_group<kEpilogue>(args, t, groups + group);
}

// How the warps of a block divide a tile: 1 << part_bits of them share rows, and each has columns [begin, end), in
// units.
struct Division {
  int part_bits, chunks, begin, end;
  __device__ int group() const { return int(threadIdx.x) / kWarp >> part_bits; }
};
template <bool kRest>
__device__ inline Division division_of(const MatvecArgs& args, int units, int tile) {
  const bool rest = kRest && tile >= args.tiles;
  const int bits = rest ? args.rest_bits : args.part_bits, part = int(threadIdx.x) / kWarp & ((1 << bits) - 1);
  return {bits, rest ? args.rest_chunks : args.chunks, units * part >> bits, units * (part + 1) >> bits};
}

// The rows of a warp as it reads them; past the end of the weight it is the last row again.
template <class Row>
struct Cursor {
  Row first, second;
  int stride;  // units from row to row of a run
  int last_first, last_second;
  __device__ void set(const MatvecArgs& args, const RowGroup& rows) {
    const WeightRef& weight = args.targets[rows.target].weight;
    first = Row(weight, min(rows.a, weight.rows - 1));
    second = Row(args.targets[rows.second_target].weight, min(rows.b, weight.rows - 1));
    stride = Row::units(weight) << rows.step_bit;
    last_first = max(0, min(kRun - 1, (weight.rows - 1 - rows.a) >> rows.step_bit));
    last_second = max(0, min(kRun - 1, (weight.rows - 1 - rows.b) >> rows.step_bit));
  }
  __device__ typename Row::Unit load(int row, int unit) const {
    return row < kRun ? first.load(min(row, last_first) * stride + unit)
                      : second.load(min(row - kRun, last_second) * stride + unit);
  }
  // To the second-level cache, for later.
  __device__ void ask(int row, int unit) const {
    const void* at = row < kRun ? first.at(min(row, last_first) * stride + unit)
                                : second.at(min(row - kRun, last_second) * stride + unit);
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
  }
};

}  // namespace metallic::cuda

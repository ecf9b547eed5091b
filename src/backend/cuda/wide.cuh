// What the kernels for many rows share: where a number of 16 bits lies, and how it is made.
#pragma once

#include "backend/activation.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/wide.h"

namespace metallic::cuda {

// Eight neighbouring columns of a row, from `column`, a multiple of 8.
__device__ inline uint4* eight_of(const Sixteen& to, int row, int column, int columns) {
  auto* data = static_cast<uint4*>(to.data);
  if (to.token_tiles == 0) return data + (int64_t(row) * columns + column) / 8;
  const int in_chunk = column % kChunk, lane = row % 8 * 4 + in_chunk / 32;
  return data + ((int64_t(column / kChunk) * to.token_tiles + row / 8) * 4 + in_chunk % 32 / 8) * 32 + lane;
}

__device__ inline uint32_t pair_bits(float low, float high, bool half) {
  if (half) {
    const __half2 pair = __floats2half2_rn(fminf(fmaxf(low, -65504.0f), 65504.0f),  //
                                           fminf(fmaxf(high, -65504.0f), 65504.0f));
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ inline uint4 eight_bits_of(const float* values, bool half) {
  return make_uint4(pair_bits(values[0], values[1], half), pair_bits(values[2], values[3], half),
                    pair_bits(values[4], values[5], half), pair_bits(values[6], values[7], half));
}

// gated_value(), with the one that most models have in line and all others in one place.
__device__ __noinline__ inline float other_gate(Activation activation, float gate, float up, float clamp) {
  return gated_value(activation, gate, up, clamp);
}
__device__ inline float gate_of(Activation activation, float gate, float up, float clamp) {
  if (activation != Activation::kSilu || clamp > 0) return other_gate(activation, gate, up, clamp);
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

// Eight floats, where the address may not be a multiple of 16.
__device__ inline void load_eight(const float* from, bool aligned, float* values) {
  if (!aligned) {
    for (int i = 0; i < 8; ++i) values[i] = from[i];
    return;
  }
  for (int i = 0; i < 2; ++i) {
    const float4 v = reinterpret_cast<const float4*>(from)[i];
    values[4 * i] = v.x, values[4 * i + 1] = v.y, values[4 * i + 2] = v.z, values[4 * i + 3] = v.w;
  }
}
__device__ inline void store_eight(const float* values, bool aligned, float* to) {
  if (!aligned) {
    for (int i = 0; i < 8; ++i) to[i] = values[i];
    return;
  }
  for (int i = 0; i < 2; ++i)
    reinterpret_cast<float4*>(to)[i] =
        make_float4(values[4 * i], values[4 * i + 1], values[4 * i + 2], values[4 * i + 3]);
}

}  // namespace metallic::cuda

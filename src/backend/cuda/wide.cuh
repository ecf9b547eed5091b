// What the kernels for many rows share: where a number of 16 bits lies, and how it is made.
#pragma once

#include "backend/activation.h"
#include "backend/cuda/sixteen.cuh"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/wide.h"

namespace metallic::cuda {

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

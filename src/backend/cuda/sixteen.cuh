// Where an activation of 16 bits lies, and how it is made.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/sixteen.h"

namespace metallic::cuda {

// Where two neighbouring columns of a row lie, the first one even.
__device__ inline uint32_t* pair_of(const Sixteen& to, int row, int column, int columns) {
  auto* data = static_cast<uint32_t*>(to.data);
  if (to.token_tiles == 0) return data + (int64_t(row) * columns + column) / 2;
  const int in_chunk = column % kChunk, matrix = in_chunk % 32 / 2, word = row % 8 * 4 + in_chunk / 32;
  return data + ((int64_t(column / kChunk) * to.token_tiles + row / 8) * kMatrices + matrix) * 32 + word;
}

// Eight neighbouring columns, from a multiple of 8 on.
__device__ inline void store_eight_of(const Sixteen& to, int row, int column, int columns, const uint4& eight) {
  uint32_t* at = pair_of(to, row, column, columns);
  if (to.token_tiles == 0) {
    *reinterpret_cast<uint4*>(at) = eight;
    return;
  }
  at[0] = eight.x, at[32] = eight.y, at[64] = eight.z, at[96] = eight.w;
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

}  // namespace metallic::cuda

// Floats to activations of eight bits, by the lanes of a warp.
#pragma once

#include "backend/cuda/planes.cuh"

namespace metallic::cuda {

// Eight neighbouring lanes hold a group of 32, four floats each, for codes[at] and on. All lanes call it together.
__device__ inline void quantise_four(const float* x, bool valid, int64_t at, int8_t* to, ActivationGroup* groups) {
  // As integers, so that a NaN is the largest of all and makes the group's scale one.
  uint32_t bits = 0;
  for (int k = 0; k < 4; ++k) bits = max(bits, __float_as_uint(fabsf(x[k])));
  for (int offset = 1; offset < 8; offset *= 2) bits = max(bits, __shfl_xor_sync(kAllLanes, bits, offset));
  const float largest = __uint_as_float(bits);
  const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
  char4 codes;
  codes.x = char(__float2int_rn(x[0] * inverse));
  codes.y = char(__float2int_rn(x[1] * inverse));
  codes.z = char(__float2int_rn(x[2] * inverse));
  codes.w = char(__float2int_rn(x[3] * inverse));
  int sum = codes.x + codes.y + codes.z + codes.w;
  for (int offset = 1; offset < 4; offset *= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  const int other = __shfl_xor_sync(kAllLanes, sum, 4);
  if (!valid) return;
  *reinterpret_cast<char4*>(to + at) = codes;
  if (threadIdx.x % 8 == 0) groups[at / 32] = {scale, make_short2(short(sum), short(other))};
}

// Each lane of a warp holds one float of a group; `at` is that of lane 0.
__device__ inline void quantise_lane(float x, int64_t at, int8_t* to, ActivationGroup* groups) {
  const int lane = int(threadIdx.x) % kWarp;
  const float largest = __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(fabsf(x))));
  const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
  const int code = __float2int_rn(x * inverse);
  int sum = code;
  for (int offset = 1; offset < 16; offset *= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  const int other = __shfl_xor_sync(kAllLanes, sum, 16);
  to[at + lane] = int8_t(code);
  if (lane == 0) groups[at / 32] = {scale, make_short2(short(sum), short(other))};
}

}  // namespace metallic::cuda

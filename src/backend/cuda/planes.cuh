// Reading planes: a unit of weights as registers, its weights as floats, its product with activations of eight bits.
#pragma once

#include <cuda_fp16.h>

#include "backend/cuda/device.cuh"
#include "backend/cuda/planes.h"

namespace metallic::cuda {

// Activations of eight bits: x[i] = scale * code[i] for a group of 32. `sums`: of the codes of its first and second
// half.
struct ActivationGroup {
  float scale;
  short2 sums;
};

__device__ inline float half_bits(uint32_t bits) { return __half2float(__ushort_as_half(uint16_t(bits))); }

// Weights are read once: they must not push out of the caches what is read again. Volatile, so that the compiler does
// not move a load behind the wait for the kernel ahead.
__device__ inline uint4 load_once(const uint4* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

__device__ inline uint2 load_once(const uint2* from) {
  uint2 v;
  asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}
__device__ inline uint32_t load_once(const uint32_t* from) {
  uint32_t v;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(from));
  return v;
}
__device__ inline uint32_t load_once(const uint16_t* from) {
  uint16_t v;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(from));
  return v;
}

// sum + a0 b0 + … + a3 b3 of the bytes, those of `a` without a sign.
__device__ inline int dot_bytes(uint32_t a, int b, int sum) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
}

template <class P>
struct PlaneUnit {
  uint32_t codes[4];
  uint32_t high[2];
  uint32_t scale, super;

  // Word j of eight: the codes of weights 4 j to 4 j + 3, a byte each, without the zero point's shift.
  __device__ uint32_t word(int j) const {
    static_assert(P::kBits != 8);
    uint32_t w = (j < 4 ? codes[j & 3] : codes[j & 3] >> 4) & 0x0f0f0f0fu;
    if constexpr (P::kBits == 5) w |= ((high[0] >> j) & 0x01010101u) << 4;
    if constexpr (P::kBits == 6) w |= ((high[j / 4] >> (2 * (j & 3))) & 0x03030303u) << 4;
    return w;
  }

  // Scale and offset of half `half` of the unit.
  __device__ void factors(int half, float& factor, float& offset) const {
    offset = 0;
    if constexpr (P::kScale == ScaleKind::kHalf) factor = half_bits(scale);
    if constexpr (P::kScale == ScaleKind::kHalfPair) {
      factor = half_bits(scale);
      offset = half_bits(scale >> 16);
    }
    if constexpr (P::kScale == ScaleKind::kSuper) {
      factor = half_bits(super) * float(scale & 255);
      offset = -(half_bits(super >> 16) * float(scale >> 8 & 255));
    }
    if constexpr (P::kScale == ScaleKind::kSigned)
      factor = half_bits(super) * float(int8_t(uint8_t(scale >> (8 * half))));
  }

  // All weights, bit for bit as the format defines them.
  __device__ void weights(int unit, float* out) const {
    (void)unit;
    if constexpr (P::kBits == 8) {
      float factor, offset;
      factors(0, factor, offset);
      for (int i = 0; i < 16; ++i) out[i] = factor * float(int8_t(uint8_t(codes[i / 4] >> (8 * (i % 4)))));
    } else {
      for (int j = 0; j < 8; ++j) {
        float factor, offset;
        factors(j / 4, factor, offset);
        const uint32_t w = word(j);
        for (int b = 0; b < 4; ++b) {
          const float product = factor * float(int(w >> (8 * b) & 255) - P::kZero);
          const bool has_offset = P::kScale == ScaleKind::kHalfPair || P::kScale == ScaleKind::kSuper;
          out[4 * j + b] = has_offset ? product + offset : product;
        }
      }
    }
  }

  // The product with a unit of activations: `words` of four codes each, and the group they are in.
  __device__ float dot(const int* words, const ActivationGroup& group) const {
    if constexpr (P::kBits == 8) {
      int sum = 0;
      for (int j = 0; j < 4; ++j) sum = __dp4a(int(codes[j]), words[j], sum);
      return half_bits(scale) * group.scale * float(sum);
    } else {
      const int both = int(group.sums.x) + int(group.sums.y);
      int low = P::kScale == ScaleKind::kHalf ? -P::kZero * both : 0, high_half = 0;
      if constexpr (P::kBits == 4) {  // the high codes where they are: sixteen times too much
        for (int j = 0; j < 4; ++j) {
          low = dot_bytes(codes[j] & 0x0f0f0f0fu, words[j], low);
          high_half = dot_bytes(codes[j] & 0xf0f0f0f0u, words[4 + j], high_half);
        }
        high_half >>= 4;
      } else {
        for (int j = 0; j < 4; ++j) low = dot_bytes(word(j), words[j], low);
        for (int j = 4; j < 8; ++j) high_half = dot_bytes(word(j), words[j], high_half);
      }
      if constexpr (P::kScale == ScaleKind::kHalf) return half_bits(scale) * group.scale * float(low + high_half);
      if constexpr (P::kScale == ScaleKind::kHalfPair)
        return group.scale * fmaf(half_bits(scale), float(low + high_half), half_bits(scale >> 16) * float(both));
      if constexpr (P::kScale == ScaleKind::kSuper)
        return group.scale * fmaf(half_bits(super), float(int(scale & 255) * (low + high_half)),
                                  -half_bits(super >> 16) * float(int(scale >> 8 & 255) * both));
      if constexpr (P::kScale == ScaleKind::kSigned) {
        const int first = int8_t(uint8_t(scale)), second = int8_t(uint8_t(scale >> 8));
        return half_bits(super) * group.scale *
               float(first * (low - P::kZero * group.sums.x) + second * (high_half - P::kZero * group.sums.y));
      }
    }
    return 0;
  }
};

// A row of a weight in planes.
template <class P>
struct PlaneReader {
  const uint4* codes;
  const char* high;
  const char* scales;
  const char* supers;

  PlaneReader() = default;
  __device__ PlaneReader(const WeightRef& weight, int row) {
    const int64_t group = int64_t(row) * (weight.columns / 32);
    codes = reinterpret_cast<const uint4*>(static_cast<const char*>(weight.codes) + group * P::kCodeBytes);
    high = static_cast<const char*>(weight.high) + group * P::kHighBytes;
    scales = static_cast<const char*>(weight.scales) + group * P::kScaleBytes;
    supers = static_cast<const char*>(weight.supers) + group / 8 * P::kSuperBytes;
  }

  __device__ PlaneUnit<P> load(int unit) const {
    PlaneUnit<P> u;
    const uint4 c = load_once(codes + unit);
    u.codes[0] = c.x, u.codes[1] = c.y, u.codes[2] = c.z, u.codes[3] = c.w;
    u.high[0] = u.high[1] = u.super = 0;
    if constexpr (P::kBits == 5) u.high[0] = load_once(reinterpret_cast<const uint32_t*>(high) + unit);
    if constexpr (P::kBits == 6) {
      const uint2 h = load_once(reinterpret_cast<const uint2*>(high) + unit);
      u.high[0] = h.x, u.high[1] = h.y;
    }
    const int group = P::kBits == 8 ? unit / 2 : unit;
    if constexpr (P::kScaleBytes == 2)
      u.scale = load_once(reinterpret_cast<const uint16_t*>(scales) + group);
    else
      u.scale = load_once(reinterpret_cast<const uint32_t*>(scales) + group);
    if constexpr (P::kSuperBytes == 2) u.super = load_once(reinterpret_cast<const uint16_t*>(supers) + group / 8);
    if constexpr (P::kSuperBytes == 4) u.super = load_once(reinterpret_cast<const uint32_t*>(supers) + group / 8);
    return u;
  }
};

}  // namespace metallic::cuda

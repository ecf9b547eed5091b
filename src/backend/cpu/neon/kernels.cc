// The primitives for NEON (Advanced SIMD of every 64-bit ARM): 4 floats a vector, 32 registers.
#include "backend/cpu/kernels.h"

#include <arm_neon.h>

namespace metallic::cpu {
namespace {

struct Simd {
  using V = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr int kDotTokens = 6;
  static constexpr int kOuterVectors = 4;

  static V zero() { return vdupq_n_f32(0.0f); }
  static V set(float x) { return vdupq_n_f32(x); }
  static V load(const float* x) { return vld1q_f32(x); }
  static void store(float* to, V x) { vst1q_f32(to, x); }
  static V add(V a, V b) { return vaddq_f32(a, b); }
  static V sub(V a, V b) { return vsubq_f32(a, b); }
  static V mul(V a, V b) { return vmulq_f32(a, b); }
  static V div(V a, V b) { return vdivq_f32(a, b); }
  static V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  static V min(V a, V b) { return vminq_f32(a, b); }  // a NaN if either is one
  static V max(V a, V b) { return vmaxq_f32(a, b); }  // a NaN if either is one
  static V round(V x) { return vrndnq_f32(x); }
  static V keep_bits(V x, uint32_t mask) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(mask)));
  }
  static V abs(V x) { return vabsq_f32(x); }
  static V select_less(V a, V b, V yes, V no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
  // 2^n for whole n from -126 to 127
  static V power_of_two(V n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static float reduce_add(V x) { return vaddvq_f32(x); }
  static float reduce_max(V x) { return vmaxvq_f32(x); }
  static void transpose(V (&x)[4]) {
    const float32x4_t a = vtrn1q_f32(x[0], x[1]), b = vtrn2q_f32(x[0], x[1]);
    const float32x4_t c = vtrn1q_f32(x[2], x[3]), d = vtrn2q_f32(x[2], x[3]);
    x[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    x[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    x[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    x[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
  }
  // to[i] += the sum of the lanes of the i-th vector
  static void add_four_sums(float* to, V a, V b, V c, V d) {
    vst1q_f32(to, vaddq_f32(vld1q_f32(to), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))));
  }

  static V load_half(const uint8_t* x) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(x))); }
  static void store_half(uint16_t* to, V x) { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  static V load_bfloat16(const uint8_t* x) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(x)), 16));
  }
};

#include "backend/cpu/simd_table.h"

}  // namespace

const Kernels& neon_kernels() {
  static const Kernels kernels = make_kernels("neon");
  return kernels;
}

}  // namespace metallic::cpu

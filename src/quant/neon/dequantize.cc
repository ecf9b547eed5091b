// The primitives of dequantisation for 64-bit ARM: 4 floats a vector.
#include <arm_neon.h>

#include "quant/dequantize_isa.h"
#include "quant/simd_dequantize.h"

namespace metallic::quant {
namespace {

struct Simd {
  using B = uint8x16_t;
  using V = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr bool kStreams = false;  // not measured on such a processor

  static B load(const void* x) { return vld1q_u8(static_cast<const uint8_t*>(x)); }
  static B fill(uint8_t byte) { return vdupq_n_u8(byte); }
  static B rows(uint64_t a, uint64_t b) { return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(a), vcreate_u64(b))); }
  static B words(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return rows(a | uint64_t(b) << 32, c | uint64_t(d) << 32);
  }
  static B low_halves(B a, B b) { return vcombine_u8(vget_low_u8(a), vget_low_u8(b)); }
  static B high_halves(B a, B b) { return vcombine_u8(vget_high_u8(a), vget_high_u8(b)); }
  static B bits_and(B a, B b) { return vandq_u8(a, b); }
  static B bits_or(B a, B b) { return vorrq_u8(a, b); }
  static B add(B a, B b) { return vaddq_u8(a, b); }
  static B subtract(B a, B b) { return vsubq_u8(a, b); }
  // Each byte shifted right (left if negative).
  template <int kBits>
  static B shift(B x) {
    return vshlq_u8(x, vdupq_n_s8(-kBits));
  }
  static B look_up(B table, B indices) { return vqtbl1q_u8(table, indices); }
  // 0xff where the unsigned byte is at least `least`, else 0
  static B at_least(B x, uint8_t least) { return vcgeq_u8(x, fill(least)); }
  // 0xff in byte i if bit i is set, else 0
  static B expand(uint16_t bits) {
    const B select = rows(0x8040201008040201, 0x8040201008040201);
    return vtstq_u8(vcombine_u8(vdup_n_u8(uint8_t(bits)), vdup_n_u8(uint8_t(bits >> 8))), select);
  }
  // -x in byte i if bit i is set
  static B negate(B x, uint16_t bits) {
    const B mask = expand(bits);
    return vsubq_u8(veorq_u8(x, mask), mask);
  }

  static float half(uint16_t bits) { return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0); }
  static float half(Half value) { return half(uint16_t(value.bits)); }

  static void store(float* to, V x) { vst1q_f32(to, x); }
  static void store(Float16* to, V x) { vst1_u16(&to->bits, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  static void store(BFloat16* to, V x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x), top = vshrq_n_u32(bits, 16);
    const uint32x4_t half = vaddq_u32(vdupq_n_u32(0x7fff), vandq_u32(top, vdupq_n_u32(1)));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, half), 16);
    const uint32x4_t quiet = vorrq_u32(top, vdupq_n_u32(0x40));
    vst1_u16(&to->bits, vmovn_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet)));
  }
  // function(i, floats 4 i and on) for the four quarters of 16 signed codes
  template <class Function>
  static void quarters(B codes, const Function& function) {
    const int16x8_t low = vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(codes)));
    const int16x8_t high = vmovl_high_s8(vreinterpretq_s8_u8(codes));
    function(0, vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))));
    function(1, vcvtq_f32_s32(vmovl_high_s16(low)));
    function(2, vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))));
    function(3, vcvtq_f32_s32(vmovl_high_s16(high)));
  }
  // 16 signed codes times scale
  template <class T>
  static void store_scaled(B codes, float scale, T* out) {
    quarters(codes, [&](int i, V x) { store(out + 4 * i, vmulq_n_f32(x, scale)); });
  }
  // 16 signed codes times scale, plus offset
  template <class T>
  static void store_affine(B codes, float scale, float offset, T* out) {
    const V term = vdupq_n_f32(offset);
    quarters(codes, [&](int i, V x) { store(out + 4 * i, vaddq_f32(vmulq_n_f32(x, scale), term)); });
  }

  static uint8x8_t load_8(const void* x) { return vld1_u8(static_cast<const uint8_t*>(x)); }
  static V load_numbers(const F32::Block* x) { return vreinterpretq_f32_u8(load(x)); }
  static V load_numbers(const F16::Block* x) { return vcvt_f32_f16(vreinterpret_f16_u8(load_8(x))); }
  static V load_numbers(const BF16::Block* x) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(load_8(x)), 16));
  }
  static int16x4_t load_4(const void* x) {
    return vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(load_word<uint32_t>(x)))));
  }
  // A half with these bits is 2^-8 of the number; NaN alone comes out above 448.
  static V load_numbers(const F8_E4M3::Block* x) {
    const int16x4_t halves = vand_s16(vshl_n_s16(load_4(x), 7), vdup_n_s16(int16_t(0xbf80)));
    const V numbers = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_s16(halves)), 256.0f);
    const uint32x4_t nan = vcgtq_f32(vabsq_f32(numbers), vdupq_n_f32(448.0f));
    return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(numbers), nan));
  }
  static V load_numbers(const I8::Block* x) { return vcvtq_f32_s32(vmovl_s16(load_4(x))); }
  static V load_numbers(const I16::Block* x) { return vcvtq_f32_s32(vmovl_s16(vreinterpret_s16_u8(load_8(x)))); }
  static V load_numbers(const I32::Block* x) { return vcvtq_f32_s32(vreinterpretq_s32_u8(load(x))); }
  static V load_numbers(const F64::Block* x) {
    return vcvt_high_f32_f64(vcvt_f32_f64(vreinterpretq_f64_u8(load(x))), vreinterpretq_f64_u8(load(x + 2)));
  }
};

}  // namespace

const Dequantizers kNeonDequantizers = {"neon", SimdRows<Simd>::to_float, SimdRows<Simd>::to};

}  // namespace metallic::quant

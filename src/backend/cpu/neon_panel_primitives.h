// The primitives of the panel kernels for 64-bit ARM. Included in the unnamed namespace of neon/panels.cc,
// neondot/panels.cc and neoni8mm/panels.cc.

struct NeonPanels {
  using V = float32x4_t;  // floats of the rows
  using I = int32x4_t;    // sums of the rows
  using C = uint8x16_t;   // four codes of each row
  using T = int8x16_t;    // four codes of a token, for every row
  static constexpr int kWidth = 4, kTokens = 4, kPanels = 2;
  static constexpr int kSignedBias = 0;

  static C load(const uint8_t* codes) { return vld1q_u8(codes); }
  static void store_codes(uint8_t* to, C codes) { vst1q_u8(to, codes); }
  static T load_token(const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  // Each byte shifted right (left if negative), masked.
  template <int kShift, int kMask>
  static C bits(C x) {
    if constexpr (kShift > 0) x = vshrq_n_u8(x, kShift);
    if constexpr (kShift < 0) x = vshlq_n_u8(x, -kShift);
    return vandq_u8(x, vdupq_n_u8(uint8_t(kMask)));
  }
  static C bits_or(C a, C b) { return vorrq_u8(a, b); }
  template <int kBias>
  static C add_bias(C x) {
    return kBias == 0 ? x : vaddq_u8(x, vdupq_n_u8(uint8_t(kBias)));
  }
  static C load_table(const int8_t* table) { return vreinterpretq_u8_s8(vld1q_s8(table)); }
  static C look_up(C table, C index) { return vqtbl1q_u8(table, index); }

  static I set_int(int32_t x) { return vdupq_n_s32(x); }
  static I add(I a, I b) { return vaddq_s32(a, b); }
  static I sub(I a, I b) { return vsubq_s32(a, b); }
  // kBias / kLargestBias of x, which both divide.
  template <int kBias>
  static I share(I x) {
    return vshlq_s32(x, vdupq_n_s32(-std::countr_zero(unsigned(kLargestBias / kBias))));
  }
  static V to_float(I x) { return vcvtq_f32_s32(x); }
  static V zero() { return vdupq_n_f32(0); }
  static V set(float x) { return vdupq_n_f32(x); }
  static V load(const float* x) { return vld1q_f32(x); }
  static void store(float* to, V x) { vst1q_f32(to, x); }
  static V mul(V a, V b) { return vmulq_f32(a, b); }
  static V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  static V max(V a, V b) { return vmaxq_f32(a, b); }
  static V abs(V x) { return vabsq_f32(x); }
  static V negate(V x) { return vnegq_f32(x); }
  static float reduce_max(V x) { return vmaxvq_f32(x); }
  // NaN if one is; all others are 0.
  static float zero_or_nan(V x) { return vaddvq_f32(x); }

  static uint16x8_t four(const uint8_t* x) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, x, 4);
    return vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)));
  }
  static V from_words(uint16x8_t x) { return vcvtq_f32_u32(vmovl_u16(vget_low_u16(x))); }
  static V load_half(const uint8_t* x) {
    uint64_t bits;
    __builtin_memcpy(&bits, x, 8);
    return vcvt_f32_f16(vreinterpret_f16_u64(vdup_n_u64(bits)));
  }
  static V load_u8(const uint8_t* x) { return from_words(four(x)); }
  static V load_i8(const uint8_t* x) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, x, 4);
    return to_float(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(bytes))))));
  }
  static V load_low_nibbles(const uint8_t* x) { return from_words(vandq_u16(four(x), vdupq_n_u16(15))); }
  static V load_high_nibbles(const uint8_t* x) { return from_words(vshrq_n_u16(four(x), 4)); }
  // 2^(e - 128), as quant::MXFP4::half_scale
  static V load_exponents(const uint8_t* x) {
    const uint32x4_t e = vmovl_u16(vget_low_u16(four(x)));
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), small, normal));
  }
  // 32 numbers times `factor`, rounded, as bytes; and the sums of each 16.
  static void round_codes(const V* x, V factor, int8_t* codes, int32_t* sums) {
    for (int half = 0; half < 2; ++half) {
      int32x4_t whole[4];
      // Only what is no number is outside of this range; its sums must not overflow.
      for (int i = 0; i < 4; ++i)
        whole[i] =
            vmaxq_s32(vminq_s32(vcvtnq_s32_f32(mul(x[4 * half + i], factor)), vdupq_n_s32(127)), vdupq_n_s32(-127));
      const int16x8_t low = vcombine_s16(vqmovn_s32(whole[0]), vqmovn_s32(whole[1]));
      const int16x8_t high = vcombine_s16(vqmovn_s32(whole[2]), vqmovn_s32(whole[3]));
      vst1q_s8(codes + 16 * half, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
      sums[half] = vaddvq_s32(vaddq_s32(vaddq_s32(whole[0], whole[1]), vaddq_s32(whole[2], whole[3])));
    }
  }
};

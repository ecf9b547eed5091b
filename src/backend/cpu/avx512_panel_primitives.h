// The primitives of the panel kernels for 512-bit vectors. Included in the unnamed namespace of avx512vnni/panels.cc
// and amxint8/.

struct Avx512Panels {
  using V = __m512;   // floats of the rows
  using I = __m512i;  // sums of the rows
  using C = __m512i;  // four codes of each row
  using T = __m512i;  // four codes of a token, for every row
  static constexpr int kWidth = 16;

  static C load(const uint8_t* codes) { return _mm512_loadu_si512(codes); }
  static C keep(C codes) {
    asm volatile("" : "+v"(codes)::"memory");
    return codes;
  }
  static void store_codes(uint8_t* to, C codes) { _mm512_storeu_si512(to, codes); }
  static T load_token(const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, 4);
    return _mm512_set1_epi32(four);
  }
  // Each byte shifted right (left if negative), masked.
  template <int kShift, int kMask>
  static C bits(C x) {
    const __m512i shifted = kShift == 0  ? x
                            : kShift > 0 ? _mm512_srli_epi16(x, kShift > 0 ? kShift : 0)
                                         : _mm512_slli_epi16(x, kShift < 0 ? -kShift : 0);
    return _mm512_and_si512(shifted, _mm512_set1_epi8(char(kMask)));
  }
  static C bits_or(C a, C b) { return _mm512_or_si512(a, b); }
  template <int kBias>
  static C add_bias(C x) {
    return kBias == 0 ? x : _mm512_add_epi8(x, _mm512_set1_epi8(char(kBias)));
  }
  static C load_table(const int8_t* table) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static C look_up(C table, C index) { return _mm512_shuffle_epi8(table, index); }

  static I set_int(int32_t x) { return _mm512_set1_epi32(x); }
  // 16 bytes of each of 16 rows, as 4 vectors of four bytes of each.
  static void interleave(const uint8_t* rows, int64_t stride, uint8_t* to) {
    __m512i lanes[4];  // rows i, 4 + i, 8 + i, 12 + i
    for (int i = 0; i < 4; ++i) {
      lanes[i] = _mm512_castsi128_si512(bytes(rows + i * stride));
      lanes[i] = _mm512_inserti32x4(lanes[i], bytes(rows + (4 + i) * stride), 1);
      lanes[i] = _mm512_inserti32x4(lanes[i], bytes(rows + (8 + i) * stride), 2);
      lanes[i] = _mm512_inserti32x4(lanes[i], bytes(rows + (12 + i) * stride), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(lanes[0], lanes[1]), low23 = _mm512_unpacklo_epi32(lanes[2], lanes[3]);
    const __m512i high01 = _mm512_unpackhi_epi32(lanes[0], lanes[1]);
    const __m512i high23 = _mm512_unpackhi_epi32(lanes[2], lanes[3]);
    store_codes(to, _mm512_unpacklo_epi64(low01, low23));
    store_codes(to + 64, _mm512_unpackhi_epi64(low01, low23));
    store_codes(to + 128, _mm512_unpacklo_epi64(high01, high23));
    store_codes(to + 192, _mm512_unpackhi_epi64(high01, high23));
  }

  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  // kBias / kLargestBias of x, which both divide.
  template <int kBias>
  static I share(I x) {
    return kBias == kLargestBias ? x : _mm512_srai_epi32(x, unsigned(std::countr_zero(unsigned(kLargestBias / kBias))));
  }
  static V to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static V zero() { return _mm512_setzero_ps(); }
  static V set(float x) { return _mm512_set1_ps(x); }
  static V load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* to, V x) { _mm512_storeu_ps(to, x); }
  static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V max(V a, V b) { return _mm512_max_ps(a, b); }
  static V abs(V x) { return _mm512_abs_ps(x); }
  // token_scale gives 2^power * (1 + scale_step / kScaleSteps).
  static V power(float token_scale) { return _mm512_getexp_ps(set(token_scale)); }
  static V times_two_to(V x, V power) { return _mm512_scalef_ps(x, power); }
  static V negate(V x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
  static float reduce_max(V x) { return _mm512_reduce_max_ps(x); }
  // NaN if one is; all others are 0.
  static float zero_or_nan(V x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) == 0 ? 0.0f : __builtin_nanf(""); }

  static __m128i bytes(const uint8_t* x) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)); }
  static V load_half(const uint8_t* x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  }
  static V load_u8(const uint8_t* x) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(x))); }
  static V load_i8(const uint8_t* x) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes(x))); }
  static V load_low_nibbles(const uint8_t* x) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_cvtepu8_epi32(bytes(x)), _mm512_set1_epi32(15)));
  }
  static V load_high_nibbles(const uint8_t* x) {
    return _mm512_cvtepi32_ps(_mm512_srli_epi32(_mm512_cvtepu8_epi32(bytes(x)), 4));
  }
  // 2^(e - 128), as quant::MXFP4::half_scale
  static V load_exponents(const uint8_t* x) {
    const __m512i e = _mm512_cvtepu8_epi32(bytes(x));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    return _mm512_castsi512_ps(
        _mm512_mask_blend_epi32(_mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2)), normal, small));
  }
  // 32 numbers times `factor`, rounded, as bytes; and the sums of each 16.
  static void round_codes(const V* x, V factor, int8_t* codes, int32_t* sums) {
    const auto rounded = [&](V v) { return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(mul(v, factor))); };
    const __m256i whole = _mm256_set_m128i(rounded(x[1]), rounded(x[0]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), whole);
    __m256i sum = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), whole);  // of four each
    sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
    sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0xb1));
    sums[0] = _mm256_cvtsi256_si32(sum);
    sums[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(sum, 1));
  }
};

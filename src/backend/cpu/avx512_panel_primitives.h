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

  // Of each 128 bits of four vectors one number, its four in order: f(of the first), ...
  template <class Function>
  static __m512i fold(const __m512i (&x)[4], const Function& f) {
    const __m512i first = f(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
    const __m512i second = f(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
    return f(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  }
  // Four groups in turn as simd_panel_pack.h's quantize_group has one; the next group's codes and TokenGroup lie
  // `tokens` further. Magnitudes are compared as whole numbers, of which infinities and NaNs are the largest.
  static void quantize_four(const float* x, int tokens, int8_t* codes, TokenGroup* info) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512 v[4][2];
    __m512i most[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      v[g][0] = load(x + g * kGroupColumns);
      v[g][1] = load(x + g * kGroupColumns + kWidth);
      most[g] = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(v[g][0]), magnitude),
                                 _mm512_and_si512(_mm512_castps_si512(v[g][1]), magnitude));
    }
    const __m512i folded = fold(most, [](__m512i a, __m512i b) { return _mm512_max_epi32(a, b); });
    const __m256i half = _mm256_max_epi32(_mm512_castsi512_si256(folded), _mm512_extracti64x4_epi64(folded, 1));
    const __m128i bits = _mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    const __m128 largest = _mm_castsi128_ps(bits);

    const __m128i below = _mm_set1_epi32((1 << kStepShift) - 1);  // as token_scale has it
    const __m128i rounded_up = _mm_andnot_si128(
        below, _mm_add_epi32(_mm_castps_si128(_mm_mul_ps(largest, _mm_set1_ps(1.0f / 127.0f))), below));
    const __m128 exact = _mm_castsi128_ps(rounded_up);
    const __m128 inverse =
        _mm_maskz_div_ps(_mm_cmp_ps_mask(largest, _mm_set1_ps(kLeastMagnitude), _CMP_GE_OQ), _mm_set1_ps(1.0f), exact);
    const __mmask8 finite = _mm_cmplt_epi32_mask(bits, _mm_set1_epi32(0x7f800000));
    const __m128 scale = _mm_mask_blend_ps(finite, _mm_set1_ps(__builtin_nanf("")), exact);

    const __m512i ones = _mm512_set1_epi8(1), in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13,  //
                                                                           2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 factors = _mm512_broadcast_f32x4(inverse);
    __m128 sums[2];  // of the halves of two groups
#pragma GCC unroll 2
    for (int pair = 0; pair < 4; pair += 2) {
      const __m512 first = pair == 0 ? _mm512_permute_ps(factors, 0x00) : _mm512_permute_ps(factors, 0xaa);
      const __m512 second = pair == 0 ? _mm512_permute_ps(factors, 0x55) : _mm512_permute_ps(factors, 0xff);
      const auto words = [](const V* of, V factor) {
        return _mm512_packs_epi32(_mm512_cvtps_epi32(mul(of[0], factor)), _mm512_cvtps_epi32(mul(of[1], factor)));
      };
      const __m512i both = _mm512_packs_epi16(words(v[pair], first), words(v[pair + 1], second));
      const __m512i in_turn = _mm512_permutexvar_epi32(in_order, both);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + pair * tokens * kGroupColumns),
                          _mm512_castsi512_si256(in_turn));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + (pair + 1) * tokens * kGroupColumns),
                          _mm512_extracti64x4_epi64(in_turn, 1));
      const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, both);  // of four each
      const __m256i of_half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
      sums[pair / 2] =
          _mm_castsi128_ps(_mm_add_epi32(_mm256_castsi256_si128(of_half), _mm256_extracti128_si256(of_half, 1)));
    }
    const __m128i firsts = _mm_castps_si128(_mm_shuffle_ps(sums[0], sums[1], 0x88));
    const __m128i all = _mm_add_epi32(firsts, _mm_castps_si128(_mm_shuffle_ps(sums[0], sums[1], 0xdd)));
    const auto minus = [](__m128i sum) {
      return _mm_castsi128_ps(_mm_mullo_epi32(sum, _mm_set1_epi32(-kLargestBias)));
    };
    __m128 infos[4] = {scale, _mm_mul_ps(scale, _mm_cvtepi32_ps(all)), minus(all), minus(firsts)};
    _MM_TRANSPOSE4_PS(infos[0], infos[1], infos[2], infos[3]);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) _mm_storeu_ps(reinterpret_cast<float*>(info + g * tokens), infos[g]);
  }
};

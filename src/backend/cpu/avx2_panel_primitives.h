// The primitives of the panel kernels for 256-bit vectors. Included in the unnamed namespace of avx2/panels.cc and
// avxvnni/panels.cc.

struct Avx2Panels {
  using V = __m256;   // floats of the rows
  using I = __m256i;  // sums of the rows
  using C = __m256i;  // four codes of each row
  using T = __m256i;  // four codes of a token, for every row
  static constexpr int kWidth = 8;

  static C load(const uint8_t* codes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)); }
  static void store_codes(uint8_t* to, C codes) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes); }
  static T load_token(const int8_t* codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, 4);
    return _mm256_set1_epi32(four);
  }
  // Each byte shifted right (left if negative), masked.
  template <int kShift, int kMask>
  static C bits(C x) {
    const __m256i shifted = kShift == 0  ? x
                            : kShift > 0 ? _mm256_srli_epi16(x, kShift > 0 ? kShift : 0)
                                         : _mm256_slli_epi16(x, kShift < 0 ? -kShift : 0);
    return _mm256_and_si256(shifted, _mm256_set1_epi8(char(kMask)));
  }
  static C bits_or(C a, C b) { return _mm256_or_si256(a, b); }
  template <int kBias>
  static C add_bias(C x) {
    return kBias == 0 ? x : _mm256_add_epi8(x, _mm256_set1_epi8(char(kBias)));
  }
  static C load_table(const int8_t* table) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
  }
  static C look_up(C table, C index) { return _mm256_shuffle_epi8(table, index); }

  static I set_int(int32_t x) { return _mm256_set1_epi32(x); }
  static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  // kBias / kLargestBias of x, which both divide.
  template <int kBias>
  static I share(I x) {
    return kBias == kLargestBias ? x : _mm256_srai_epi32(x, std::countr_zero(unsigned(kLargestBias / kBias)));
  }
  static V to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static V zero() { return _mm256_setzero_ps(); }
  static V set(float x) { return _mm256_set1_ps(x); }
  static V load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* to, V x) { _mm256_storeu_ps(to, x); }
  static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V max(V a, V b) { return _mm256_max_ps(a, b); }
  static V abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static V negate(V x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }
  static float reduce_max(V x) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  // NaN if one is; all others are 0.
  static float zero_or_nan(V x) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) == 0 ? 0.0f : __builtin_nanf("");
  }
  static int32_t reduce_add(__m256i x) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
  }

  static __m128i eight(const uint8_t* x) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)); }
  static V load_half(const uint8_t* x) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))); }
  static V load_u8(const uint8_t* x) { return to_float(_mm256_cvtepu8_epi32(eight(x))); }
  static V load_i8(const uint8_t* x) { return to_float(_mm256_cvtepi8_epi32(eight(x))); }
  static V load_low_nibbles(const uint8_t* x) {
    return to_float(_mm256_and_si256(_mm256_cvtepu8_epi32(eight(x)), _mm256_set1_epi32(15)));
  }
  static V load_high_nibbles(const uint8_t* x) {
    return to_float(_mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(x)), 4));
  }
  // 2^(e - 128), as quant::MXFP4::half_scale
  static V load_exponents(const uint8_t* x) {
    const __m256i e = _mm256_cvtepu8_epi32(eight(x));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
  }
  // Rounded. Only what is no number is outside of this range; its sums must not overflow.
  static __m256i whole(V x) {
    const __m256i rounded = _mm256_cvtps_epi32(x);
    return _mm256_max_epi32(_mm256_min_epi32(rounded, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
  }
  // 32 numbers times `factor`, rounded, as bytes; and the sums of each 16.
  static void round_codes(const V* x, V factor, int8_t* codes, int32_t* sums) {
    for (int half = 0; half < 2; ++half) {
      const __m256i a = whole(mul(x[2 * half], factor)), b = whole(mul(x[2 * half + 1], factor));
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
      const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16 * half), bytes);
      sums[half] = reduce_add(_mm256_add_epi32(a, b));
    }
  }
};

// The primitives in plain C++, for processors without any of the other instruction sets: four floats at a time, which
// compilers keep in whatever registers there are.
#include "backend/cpu/kernels.h"

#include <cmath>

#include "base/half.h"
namespace metallic::cpu {
namespace {

struct Simd {
  struct V {
    float lane[4];
  };
  static constexpr int kWidth = 4;
  static constexpr int kDotTokens = 3;
  static constexpr int kOuterVectors = 2;

  template <class Function>
  static V each(Function function) {
    return {{function(0), function(1), function(2), function(3)}};
  }

  static V zero() { return {}; }
  static V set(float x) { return {{x, x, x, x}}; }
  static V load(const float* x) {
    V result;
    __builtin_memcpy(result.lane, x, sizeof(result.lane));
    return result;
  }
  static void store(float* to, V x) { __builtin_memcpy(to, x.lane, sizeof(x.lane)); }
  static V add(V a, V b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static V sub(V a, V b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static V mul(V a, V b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static V div(V a, V b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static V fma(V a, V b, V c) { return add(mul(a, b), c); }  // two roundings: a fused one would be a library call
  static V min(V a, V b) { return select_less(a, b, a, b); }
  static V max(V a, V b) { return select_less(b, a, a, b); }
  static V round(V x) {
    return each([&](int i) { return std::nearbyintf(x.lane[i]); });
  }
  static V keep_bits(V x, uint32_t mask) {
    return each([&](int i) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x.lane[i]) & mask); });
  }
  static V abs(V x) { return keep_bits(x, 0x7fffffffu); }
  static V select_less(V a, V b, V yes, V no) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i]; });
  }
  // 2^n for whole n from -126 to 127
  static V power_of_two(V n) {
    return each([&](int i) {
      return n.lane[i] >= -126.0f ? std::bit_cast<float>(uint32_t(int(n.lane[i]) + 127) << 23) : n.lane[i];
    });
  }
  static float reduce_add(V x) { return (x.lane[0] + x.lane[2]) + (x.lane[1] + x.lane[3]); }
  static float reduce_max(V x) {
    float highest = x.lane[0];
    for (int i = 1; i < 4; ++i) highest = x.lane[i] > highest ? x.lane[i] : highest;
    return highest;
  }
  static void transpose(V (&x)[4]) {
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < r; ++c) {
        const float above = x[c].lane[r];
        x[c].lane[r] = x[r].lane[c];
        x[r].lane[c] = above;
      }
  }
  // to[i] += the sum of the lanes of the i-th vector
  static void add_four_sums(float* to, V a, V b, V c, V d) {
    to[0] += reduce_add(a);
    to[1] += reduce_add(b);
    to[2] += reduce_add(c);
    to[3] += reduce_add(d);
  }

  static float half(const uint8_t* bytes) {
    uint16_t word;
    __builtin_memcpy(&word, bytes, sizeof(word));
    return half_to_float(word);
  }
  static V load_half(const uint8_t* x) {
    return each([&](int i) { return half(x + 2 * i); });
  }
  static void store_half(uint16_t* to, V x) {
    for (int i = 0; i < 4; ++i) to[i] = metallic::float_to_half(x.lane[i]);
  }
  static V load_bfloat16(const uint8_t* x) {
    uint16_t words[4];
    __builtin_memcpy(words, x, sizeof(words));
    return each([&](int i) { return bfloat16_to_float(words[i]); });
  }
};

#include "backend/cpu/simd_table.h"

}  // namespace

const Kernels& scalar_kernels() {
  static const Kernels kernels = make_kernels("scalar");
  return kernels;
}

}  // namespace metallic::cpu

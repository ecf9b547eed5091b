// The panel kernels in plain C++: four rows at a time.
#include "backend/cpu/panels.h"

#include <bit>
#include <cmath>
#include <utility>

#include "base/half.h"
#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

struct P {
  struct V {
    float lane[4];
  };
  struct I {
    int32_t lane[4];
  };
  struct C {
    uint8_t byte[16];
  };
  struct T {
    int8_t byte[4];
  };
  static constexpr int kWidth = 4, kTokens = 2, kPanels = 1;
  static constexpr int kSignedBias = 0;

  template <class Function>
  static V each(Function function) {
    return {{float(function(0)), float(function(1)), float(function(2)), float(function(3))}};
  }
  template <class Function>
  static C each_byte(Function function) {
    C result;
    for (int i = 0; i < 16; ++i) result.byte[i] = uint8_t(function(i));
    return result;
  }

  static C load(const uint8_t* codes) {
    C result;
    __builtin_memcpy(result.byte, codes, 16);
    return result;
  }
  static void store_codes(uint8_t* to, C codes) { __builtin_memcpy(to, codes.byte, 16); }
  static T load_token(const int8_t* codes) {
    T result;
    __builtin_memcpy(result.byte, codes, 4);
    return result;
  }
  template <bool>
  static I dot(I sum, C codes, T token) {
    for (int row = 0; row < 4; ++row)
      for (int i = 0; i < 4; ++i) sum.lane[row] += int8_t(codes.byte[4 * row + i]) * token.byte[i];
    return sum;
  }
  template <int kShift, int kMask>
  static C bits(C x) {
    return each_byte([&](int i) {
      return (kShift >= 0 ? x.byte[i] >> (kShift >= 0 ? kShift : 0) : x.byte[i] << (kShift < 0 ? -kShift : 0)) & kMask;
    });
  }
  static C bits_or(C a, C b) {
    return each_byte([&](int i) { return a.byte[i] | b.byte[i]; });
  }
  template <int kBias>
  static C add_bias(C x) {
    return each_byte([&](int i) { return x.byte[i] + kBias; });
  }
  static C load_table(const int8_t* table) { return load(reinterpret_cast<const uint8_t*>(table)); }
  static C look_up(C table, C index) {
    return each_byte([&](int i) { return table.byte[index.byte[i] & 15]; });
  }

  static I set_int(int32_t x) { return {{x, x, x, x}}; }
  static I add(I a, I b) {
    for (int i = 0; i < 4; ++i) a.lane[i] += b.lane[i];
    return a;
  }
  static I sub(I a, I b) {
    for (int i = 0; i < 4; ++i) a.lane[i] -= b.lane[i];
    return a;
  }
  template <int kBias>
  static I share(I x) {
    for (int32_t& lane : x.lane) lane /= kLargestBias / kBias;
    return x;
  }
  static V to_float(I x) {
    return each([&](int i) { return x.lane[i]; });
  }
  static V zero() { return {}; }
  static V set(float x) { return {{x, x, x, x}}; }
  static V load(const float* x) { return {{x[0], x[1], x[2], x[3]}}; }
  static void store(float* to, V x) { __builtin_memcpy(to, x.lane, sizeof(x.lane)); }
  static V mul(V a, V b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static V fma(V a, V b, V c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static V max(V a, V b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static V abs(V x) {
    return each([&](int i) { return std::fabs(x.lane[i]); });
  }
  static V negate(V x) {
    return each([&](int i) { return -x.lane[i]; });
  }
  static float reduce_max(V x) {
    float most = x.lane[0];
    for (int i = 1; i < 4; ++i) most = x.lane[i] > most ? x.lane[i] : most;
    return most;
  }
  // NaN if one is; all others are 0.
  static float zero_or_nan(V x) { return (x.lane[0] + x.lane[2]) + (x.lane[1] + x.lane[3]); }

  static V load_half(const uint8_t* x) {
    return each([&](int i) {
      uint16_t half;
      __builtin_memcpy(&half, x + 2 * i, 2);
      return half_to_float(half);
    });
  }
  static V load_u8(const uint8_t* x) {
    return each([&](int i) { return x[i]; });
  }
  static V load_i8(const uint8_t* x) {
    return each([&](int i) { return int8_t(x[i]); });
  }
  static V load_low_nibbles(const uint8_t* x) {
    return each([&](int i) { return x[i] & 15; });
  }
  static V load_high_nibbles(const uint8_t* x) {
    return each([&](int i) { return x[i] >> 4; });
  }
  static V load_exponents(const uint8_t* x) {
    return each([&](int i) { return quant::MXFP4::half_scale(x[i]); });
  }
  static void round_codes(const V* x, V factor, int8_t* codes, int32_t* sums) {
    for (int i = 0; i < kGroupColumns; ++i) {
      const float rounded = std::nearbyintf(x[i / 4].lane[i % 4] * factor.lane[0]);
      codes[i] = rounded >= -127.0f && rounded <= 127.0f ? int8_t(rounded) : int8_t(0);
      sums[i / 16] += codes[i];
    }
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& scalar_panels() {
  static const PanelKernels kernels = make_panel_kernels("scalar", "scalar");
  return kernels;
}

}  // namespace metallic::cpu

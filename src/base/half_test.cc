#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metallic {
namespace {

// The value of a binary16 word by its definition (IEEE 754-2019, 3.4), in double.
double half_by_definition(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
}

TEST(Half, EveryHalfConvertsByDefinitionAndBack) {
  for (uint32_t word = 0; word < 0x10000; ++word) {
    const uint16_t half = uint16_t(word);
    const float value = half_to_float(half);
    if ((half & 0x7c00) == 0x7c00) {
      ASSERT_EQ(std::isnan(value), (half & 0x3ff) != 0);
      if (!std::isnan(value)) {
        ASSERT_EQ(float_to_half(value), half);
      }
      continue;
    }
    ASSERT_EQ(double(value), half_by_definition(half));
    ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0);
    ASSERT_EQ(float_to_half(value), half);
  }
}

TEST(Half, RoundsToNearestTiesToEven) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = half_to_float(half);
    const float high = half_to_float(uint16_t(half + 1));
    const float middle = (low + high) / 2;
    ASSERT_EQ(float_to_half(middle), half % 2 == 0 ? half : half + 1);
    ASSERT_EQ(float_to_half(std::nextafterf(middle, 0.0f)), half);
    ASSERT_EQ(float_to_half(std::nextafterf(middle, 1e9f)), half + 1);
  }
  EXPECT_EQ(float_to_half(65519.9f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-1e30f), 0xfc00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(NAN))));
}

TEST(Half, BFloat16RoundsToNearestTiesToEven) {
  EXPECT_EQ(float_to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(float_to_bfloat16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(float_to_bfloat16(INFINITY), 0x7f80);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace metallic

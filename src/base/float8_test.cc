#include "base/float8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace metallic {
namespace {

// The values of codes 0 to 0x7e as OFP8 tabulates them: eight multiples of 2^-9, then eight steps in each power of two.
std::vector<double> positive_values() {
  std::vector<double> values;
  for (int i = 0; i < 8; ++i) values.push_back(i / 512.0);
  for (double power = 1 / 64.0; power <= 256; power *= 2)
    for (int eighths = 8; eighths < 16; ++eighths) values.push_back(power * eighths / 8);
  values.pop_back();  // 480: the place of NaN
  return values;
}

TEST(E4M3, EveryCodeConvertsByDefinitionAndBack) {
  const std::vector<double> values = positive_values();
  ASSERT_EQ(values.size(), 127u);
  EXPECT_EQ(values.back(), 448);
  for (unsigned code = 0; code < 256; ++code) {
    const float value = e4m3_to_float(uint8_t(code));
    ASSERT_EQ(std::signbit(value), code >= 128) << code;
    ASSERT_EQ(float_to_e4m3(value), code);
    if (code % 128 == 127)
      ASSERT_TRUE(std::isnan(value)) << code;
    else
      ASSERT_EQ(std::fabs(double(value)), values[code % 128]) << code;
  }
}

TEST(E4M3, RoundsToNearestTiesToEven) {
  for (unsigned code = 0; code < 0x7e; ++code) {
    const float low = e4m3_to_float(uint8_t(code)), high = e4m3_to_float(uint8_t(code + 1));
    const float middle = (low + high) / 2;
    const unsigned even = code % 2 == 0 ? code : code + 1;
    for (const unsigned sign : {0u, 0x80u}) {
      const float factor = sign == 0 ? 1.0f : -1.0f;
      ASSERT_EQ(float_to_e4m3(factor * middle), even | sign);
      ASSERT_EQ(float_to_e4m3(factor * std::nextafterf(middle, 0.0f)), code | sign);
      ASSERT_EQ(float_to_e4m3(factor * std::nextafterf(middle, 1e9f)), (code + 1) | sign);
    }
  }
  EXPECT_EQ(float_to_e4m3(0x1p-10f), 0);  // half of the least: a tie
  EXPECT_EQ(float_to_e4m3(std::nextafterf(0x1p-10f, 1.0f)), 1);
  EXPECT_EQ(float_to_e4m3(-1e-44f), 0x80);
}

TEST(E4M3, SaturatesAndKeepsWhatIsNoNumber) {
  for (const float large :
       {448.0f, 448.1f, 463.9f, 464.0f, 480.0f, 1e30f, std::numeric_limits<float>::max(), INFINITY}) {
    EXPECT_EQ(float_to_e4m3(large), 0x7e) << large;
    EXPECT_EQ(float_to_e4m3(-large), 0xfe) << large;
  }
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0x7fffffffu}) {
    EXPECT_EQ(float_to_e4m3(std::bit_cast<float>(nan)), 0x7f);
    EXPECT_EQ(float_to_e4m3(std::bit_cast<float>(nan | 0x80000000u)), 0xff);
  }
}

}  // namespace
}  // namespace metallic

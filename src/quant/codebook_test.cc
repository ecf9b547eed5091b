#include "quant/codebook.h"

#include <gtest/gtest.h>

#include <bit>
#include <span>

#include "quant/golden.h"

namespace metallic::quant {
namespace {

// The CRC-32 of a grid unpacked to int8, row by row.
template <int kWidth, class Unpack>
uint32_t grid_crc(std::span<const uint16_t> grid, Unpack unpack) {
  std::vector<int8_t> values(grid.size() * kWidth);
  for (size_t row = 0; row < grid.size(); ++row) unpack(grid[row], &values[row * kWidth]);
  return crc32(values.data(), values.size());
}

// The numbers are what tools/make-codebooks.py prints.
TEST(Codebook, GridsAreThoseOfTheFormats) {
  const auto iq2 = [](uint16_t row, int8_t* codes) { iq2_row(row, 0, codes); };
  EXPECT_EQ(grid_crc<8>(kGridIQ2_XXS, iq2), 0x9924ff02u);
  EXPECT_EQ(grid_crc<8>(kGridIQ2_XS, iq2), 0xfa1e1bfdu);
  EXPECT_EQ(grid_crc<8>(kGridIQ2_S, iq2), 0x25ae5bf1u);
  EXPECT_EQ(grid_crc<4>(kGridIQ3_XXS, [](uint16_t row, int8_t* codes) { iq3_xxs_row(row, 0, codes); }), 0x07ba9ed0u);
  EXPECT_EQ(grid_crc<4>(kGridIQ3_S, [](uint16_t row, int8_t* codes) { iq3_s_row(row, 0, codes); }), 0xf576e4f3u);
  const auto iq1 = [](uint16_t row, int8_t* codes) {
    iq1_row(row, false, codes);
    for (int i = 0; i < 8; ++i) codes[i] = int8_t((codes[i] - 1) / 8);
  };
  EXPECT_EQ(grid_crc<8>(kGridIQ1, iq1), 0xb85e6ccfu);
}

TEST(Codebook, SevenSignsBecomeEightWithAnEvenNumberOfMinuses) {
  for (uint32_t seven = 0; seven < 128; ++seven) {
    EXPECT_EQ(uint32_t(even_signs(seven)) & 127u, seven);
    EXPECT_EQ(std::popcount(uint32_t(even_signs(seven))) % 2, 0);
    EXPECT_LT(even_signs(seven), 256);
  }
}

TEST(Codebook, E2M1ValuesAreDoubledFloats) {
  for (int bits = 0; bits < 16; ++bits) {
    const int exponent = bits >> 1 & 3, mantissa = bits & 1;
    const double magnitude = exponent == 0 ? 0.5 * mantissa : (1 + 0.5 * mantissa) * (1 << (exponent - 1));
    EXPECT_EQ(kE2M1Doubled[bits], 2 * (bits & 8 ? -magnitude : magnitude));
  }
}

}  // namespace
}  // namespace metallic::quant

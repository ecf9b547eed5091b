#include "quant/scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/half.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

constexpr uint64_t kBlocks = 40;

// Blocks of zeros.
std::vector<uint8_t> sound_blocks(Format format) {
  return std::vector<uint8_t>(kBlocks * uint64_t(format_info(format).block_bytes), 0);
}

// Every place of a format where a float16 scale or minimum lies, as offsets into a block.
struct Place {
  Format format;
  int offset;
};
const Place kHalves[] = {
    {Format::kQ4_0, 0},    {Format::kQ4_1, 0},   {Format::kQ4_1, 2},    {Format::kQ5_0, 0},   {Format::kQ5_1, 0},
    {Format::kQ5_1, 2},    {Format::kQ8_0, 0},   {Format::kQ8_1, 0},    {Format::kQ8_1, 2},   {Format::kQ2_K, 80},
    {Format::kQ2_K, 82},   {Format::kQ3_K, 108}, {Format::kQ4_K, 0},    {Format::kQ4_K, 2},   {Format::kQ5_K, 0},
    {Format::kQ5_K, 2},    {Format::kQ6_K, 208}, {Format::kIQ2_XXS, 0}, {Format::kIQ2_XS, 0}, {Format::kIQ2_S, 0},
    {Format::kIQ3_XXS, 0}, {Format::kIQ3_S, 0},  {Format::kIQ1_S, 0},   {Format::kIQ4_NL, 0}, {Format::kIQ4_XS, 0},
    {Format::kTQ1_0, 52},  {Format::kTQ2_0, 64}, {Format::kQ1_0, 0},
};

std::optional<BadBlock> judge_blocks(Format format, const std::vector<uint8_t>& bytes, double largest = 1e6) {
  return judge(format, scan_blocks(format, bytes.data(), bytes.size() / size_t(format_info(format).block_bytes), 0),
               largest);
}

TEST(Scan, ZerosAreSoundInEveryFormat) {
  for (const FormatInfo& info : all_formats())
    EXPECT_FALSE(judge_blocks(info.format, sound_blocks(info.format))) << info.name;
}

TEST(Scan, ANonFiniteScaleOrMinimumIsFoundInItsBlock) {
  for (const auto& [format, offset] : kHalves)
    for (const uint16_t half : {0x7c00, 0xfc00, 0x7e00, 0xffff}) {
      std::vector<uint8_t> bytes = sound_blocks(format);
      std::memcpy(&bytes[17 * size_t(format_info(format).block_bytes) + size_t(offset)], &half, 2);
      const auto bad = judge_blocks(format, bytes);
      ASSERT_TRUE(bad) << format_info(format).name << " at " << offset;
      EXPECT_EQ(bad->block, 17u) << format_info(format).name;
    }
}

TEST(Scan, EveryFormatWhoseBlocksCanBeImpossibleIsCovered) {
  for (const FormatInfo& info : all_formats()) {
    if (info.format == Format::kI8 || info.format == Format::kI16 || info.format == Format::kI32 ||
        info.format == Format::kI64)
      continue;
    std::vector<uint8_t> bytes = sound_blocks(info.format);
    std::fill_n(bytes.begin() + 5 * info.block_bytes, info.block_bytes, uint8_t(0xff));
    const auto bad = judge_blocks(info.format, bytes);
    ASSERT_TRUE(bad) << info.name;
    EXPECT_EQ(bad->block, 5u) << info.name;
  }
}

TEST(Scan, AWeightThatIsNotFiniteComesFromABadBlock) {
  std::mt19937 random(7);
  for (const FormatInfo& info : all_formats()) {
    if (info.format == Format::kMXFP4 || info.format == Format::kNVFP4 || info.block_elements == 1) continue;
    for (int trial = 0; trial < 200; ++trial) {
      std::vector<uint8_t> bytes(static_cast<size_t>(info.block_bytes));
      for (uint8_t& byte : bytes) byte = uint8_t(random());
      std::vector<float> weights(size_t(info.block_elements));
      dequantize_row(info.format, bytes.data(), info.block_elements, weights.data());
      bool finite = true;
      for (const float weight : weights) finite = finite && std::isfinite(weight);
      if (finite) continue;
      EXPECT_TRUE(judge_blocks(info.format, bytes)) << info.name;
    }
  }
}

TEST(Scan, PlainNumbersAreFoundByIndex) {
  std::vector<float> numbers(5000, 0.5f);
  std::vector<uint8_t> bytes(numbers.size() * sizeof(float));
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), -2e6f}) {
    numbers[4321] = wrong;
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    const auto bad = judge_blocks(Format::kF32, bytes);
    ASSERT_TRUE(bad) << wrong;
    EXPECT_EQ(bad->block, 4321u);
  }
  EXPECT_FALSE(judge_blocks(Format::kF32, bytes, 1e7));  // the last one, where such numbers are usual
}

TEST(Scan, AScaleFarAboveAllOthersIsAbsurd) {
  const auto set = [](std::vector<uint8_t>& bytes, uint64_t block, float scale) {
    const uint16_t half = float_to_half(scale);
    std::memcpy(&bytes[block * 34], &half, 2);
  };
  std::vector<uint8_t> bytes = sound_blocks(Format::kQ8_0);
  for (uint64_t i = 0; i < kBlocks; ++i) set(bytes, i, 0.002f);
  EXPECT_FALSE(judge_blocks(Format::kQ8_0, bytes));
  set(bytes, 9, 0.5f);  // an outlier, but a possible one
  EXPECT_FALSE(judge_blocks(Format::kQ8_0, bytes));
  set(bytes, 9, 64);
  ASSERT_TRUE(judge_blocks(Format::kQ8_0, bytes));
  EXPECT_EQ(judge_blocks(Format::kQ8_0, bytes)->block, 9u);
  for (uint64_t i = 0; i < kBlocks; ++i) set(bytes, i, 64);  // large, but all of them
  EXPECT_FALSE(judge_blocks(Format::kQ8_0, bytes));
  set(bytes, 3, 2048);
  EXPECT_TRUE(judge_blocks(Format::kQ8_0, bytes));
}

TEST(Scan, RunsAddUpToTheWhole) {
  std::mt19937 random(3);
  std::vector<uint8_t> bytes(size_t(64) * 144);
  for (uint8_t& byte : bytes) byte = uint8_t(random());
  const BlockScan whole = scan_blocks(Format::kQ4_K, bytes.data(), 64, 0);
  BlockScan sum;
  for (uint64_t at : {40u, 0u, 20u})
    sum.add(scan_blocks(Format::kQ4_K, bytes.data() + at * 144, at == 40 ? 24 : 20, at));
  EXPECT_EQ(sum.impossible, whole.impossible);
  EXPECT_EQ(sum.first_impossible, whole.first_impossible);
  EXPECT_EQ(sum.largest, whole.largest);
  EXPECT_EQ(sum.largest_block, whole.largest_block);
  EXPECT_EQ(sum.exponents, whole.exponents);
  EXPECT_EQ(sum.scales, whole.scales);
}

}  // namespace
}  // namespace metallic

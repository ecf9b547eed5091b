// Every format against the golden files, on every instruction set that this processor has.
#include "quant/dequantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/cpu_features.h"
#include "quant/dequantize_isa.h"
#include "quant/formats.h"
#include "quant/golden.h"

namespace metallic {
namespace {

uint32_t canonical_bits(float value) { return std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value); }

std::vector<uint32_t> canonical_bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(canonical_bits(value));
  return bits;
}

std::vector<const quant::Dequantizers*> instruction_sets() {
  std::vector<const quant::Dequantizers*> sets = {&quant::kBaseDequantizers};
#if defined(__x86_64__)
  if (cpu_features().avx2) sets.push_back(&quant::kAvx2Dequantizers);
  if (cpu_features().avx512) sets.push_back(&quant::kAvx512Dequantizers);
#elif defined(__aarch64__)
  sets.push_back(&quant::kNeonDequantizers);
#endif
  return sets;
}

std::string format_name(const testing::TestParamInfo<FormatInfo>& info) { return info.param.name; }

class EveryFormat : public testing::TestWithParam<FormatInfo> {
 protected:
  void SetUp() override {
    golden_ = read_golden(info_);
    ASSERT_GE(golden_.block_count(), 40) << "tests/data/formats/" << info_.name << ".bin; tools/make-format-golden.py";
  }

  std::vector<float> dequantized(DequantizeRow function, const char* blocks) const {
    std::vector<float> out(size_t(golden_.block_count() * info_.block_elements));
    function(blocks, int64_t(out.size()), out.data());
    return out;
  }

  const FormatInfo info_ = GetParam();
  Golden golden_;
};
INSTANTIATE_TEST_SUITE_P(Quant, EveryFormat, testing::ValuesIn(all_formats().begin(), all_formats().end()),
                         format_name);

TEST_P(EveryFormat, DecodesBitForBitLikeTheGgufPackage) {
  for (const quant::Dequantizers* set : instruction_sets()) {
    SCOPED_TRACE(set->name);
    const std::vector<uint32_t> bits = canonical_bits(dequantized(set->to_float(info_.format), golden_.blocks.data()));
    for (size_t i = 0; i < golden_.weights.size(); ++i)
      ASSERT_EQ(bits[i], canonical_bits(golden_.weights[i]))
          << "weight " << i << " is " << std::bit_cast<float>(bits[i]);
    const size_t size = size_t(info_.block_elements);
    for (size_t block = 0; block < golden_.crc.size(); ++block)
      ASSERT_EQ(crc32(&bits[block * size], 4 * size), golden_.crc[block]) << "block " << block;
  }
}

TEST_P(EveryFormat, CodesCoverExactlyTheStatedRange) {
  int least = 0, most = 0;
  bool offset_seen = false;
  const bool grouped = quant::visit_format(info_.format, [&]<class F>(F) {
    if constexpr (quant::Grouped<F>) {
      static_assert(F::kGroup == 16 || F::kGroup == 32);
      static_assert(F::kBlock % F::kGroup == 0);
      const auto* blocks = reinterpret_cast<const typename F::Block*>(golden_.blocks.data());
      for (int64_t i = 0; i < golden_.block_count(); ++i)
        for (int group = 0; group < F::kBlock / F::kGroup; ++group) {
          int8_t codes[F::kGroup];
          float scale = NAN, offset = NAN;
          F::decode(blocks[i], group, codes, scale, offset);
          least = std::min(least, int(*std::min_element(codes, codes + F::kGroup)));
          most = std::max(most, int(*std::max_element(codes, codes + F::kGroup)));
          offset_seen |= offset != 0;
        }
      EXPECT_EQ(least, F::kCodeMin);
      EXPECT_EQ(most, F::kCodeMax);
      EXPECT_EQ(offset_seen, F::kHasOffset);
      return true;
    }
    return false;
  });
  EXPECT_EQ(grouped, info_.block_elements > 1);
}

TEST_P(EveryFormat, ConvertsToItselfByteForByteAndToTheFloatFormatsThroughFloat32) {
  const int64_t elements = golden_.block_count() * info_.block_elements;
  std::vector<char> copy(golden_.blocks.size());
  convert_row(info_.format, golden_.blocks.data(), info_.format, copy.data(), elements);
  EXPECT_EQ(copy, golden_.blocks);

  const std::vector<float> weights = dequantized(dequantize_function(info_.format), golden_.blocks.data());
  for (const Format to : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0}) {
    const size_t bytes = size_t(*format_bytes(to, uint64_t(elements)));
    std::vector<char> expected(bytes), converted(bytes);
    quantize_row(to, weights.data(), elements, expected.data());
    convert_row(info_.format, golden_.blocks.data(), to, converted.data(), elements);
    if (to == info_.format) continue;  // checked above
    std::vector<float> expected_weights(static_cast<size_t>(elements)),
        converted_weights(static_cast<size_t>(elements));
    dequantize_row(to, expected.data(), elements, expected_weights.data());
    dequantize_row(to, converted.data(), elements, converted_weights.data());
    EXPECT_EQ(canonical_bits(converted_weights), canonical_bits(expected_weights)) << format_info(to).name;
  }
}

class Encoder : public testing::TestWithParam<FormatInfo> {};
INSTANTIATE_TEST_SUITE_P(Quant, Encoder,
                         testing::Values(format_info(Format::kF16), format_info(Format::kBF16),
                                         format_info(Format::kQ8_0)),
                         format_name);

TEST_P(Encoder, EncodesByteForByteLikeTheGgufPackage) {
  const std::vector<char> golden = golden_bytes(std::string("encode_") + GetParam().name);
  ASSERT_GT(golden.size(), 4u);
  uint32_t count = 0;
  std::memcpy(&count, golden.data(), 4);
  const size_t bytes = size_t(*format_bytes(GetParam().format, count));
  ASSERT_EQ(golden.size(), 4 + 4 * size_t(count) + bytes);
  std::vector<float> weights(count);
  std::memcpy(weights.data(), golden.data() + 4, 4 * weights.size());
  std::vector<char> blocks(bytes);
  quantize_row(GetParam().format, weights.data(), count, blocks.data());
  EXPECT_TRUE(std::equal(blocks.begin(), blocks.end(), golden.begin() + 4 + 4 * int64_t(count)));
}

TEST(Encoder, OnlyFloatFormatsAndQ8_0CanBeWritten) {
  for (const FormatInfo& info : all_formats()) {
    const bool expected = info.format == Format::kF32 || info.format == Format::kF16 || info.format == Format::kBF16 ||
                          info.format == Format::kQ8_0;
    EXPECT_EQ(quantize_function(info.format) != nullptr, expected) << info.name;
  }
}

TEST(Encoder, F8_E4M3IsTheNearestOfItsNumbersWithTiesToEven) {
  const std::vector<float> weights = {0.0f,   -0.0f, 1.0f,      1.0625f, 1.1875f, -17.0f,
                                      448.0f, 1e9f,  -INFINITY, 0x1p-9f, 0x1p-10f};
  const std::vector<float> nearest = {0.0f, -0.0f, 1.0f, 1.0f, 1.25f, -16.0f, 448.0f, 448.0f, -448.0f, 0x1p-9f, 0.0f};
  std::vector<uint8_t> bytes(weights.size());
  std::vector<float> decoded(weights.size());
  convert_row(Format::kF32, weights.data(), Format::kF8_E4M3, bytes.data(), int64_t(weights.size()));
  convert_row(Format::kF8_E4M3, bytes.data(), Format::kF32, decoded.data(), int64_t(weights.size()));
  EXPECT_EQ(canonical_bits(decoded), canonical_bits(nearest));
  const float nan = NAN;
  quantize_row(Format::kF8_E4M3, &nan, 1, bytes.data());
  EXPECT_EQ(bytes[0] & 0x7f, 0x7f);
}

TEST(Encoder, Q8_0StaysVisiblyWrongForWeightsThatAreNoFiniteNumber) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> weights(64, 1.0f), decoded(64);
    weights[7] = bad;
    weights[9] = 100.0f;
    char blocks[68];
    quantize_row(Format::kQ8_0, weights.data(), 64, blocks);
    dequantize_row(Format::kQ8_0, blocks, 64, decoded.data());
    for (int i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(decoded[size_t(i)])) << bad;
    for (int i = 32; i < 64; ++i) EXPECT_NEAR(decoded[size_t(i)], 1.0f, 0.01f);
  }
}

TEST(Encoder, Q8_0OfTheSmallestFloatsIsZero) {
  std::vector<float> weights(32, 1e-44f), decoded(32, 1.0f);
  char block[34];
  quantize_row(Format::kQ8_0, weights.data(), 32, block);
  dequantize_row(Format::kQ8_0, block, 32, decoded.data());
  EXPECT_EQ(decoded, std::vector<float>(32, 0.0f));
}

}  // namespace
}  // namespace metallic

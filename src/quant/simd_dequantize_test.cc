// The dequantisers of every instruction set against the definition, decode(): all formats to all number types, for
// block counts around the steps of the loops, at any address, and for results that are written around the caches.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/cpu_features.h"
#include "quant/dequantize_blocks.h"
#include "quant/dequantize_isa.h"

namespace metallic {
namespace {

std::vector<const quant::Dequantizers*> tuned_sets() {
  std::vector<const quant::Dequantizers*> sets;
#if defined(__x86_64__)
  if (cpu_features().avx2) sets.push_back(&quant::kAvx2Dequantizers);
  if (cpu_features().avx512) sets.push_back(&quant::kAvx512Dequantizers);
#elif defined(__aarch64__)
  sets.push_back(&quant::kNeonDequantizers);
#endif
  return sets;
}

std::vector<uint8_t> random_bytes(size_t count) {
  std::mt19937 engine(7);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = uint8_t(engine());  // any scale: subnormal, infinite, not a number
  return bytes;
}

// The float32 weights by the scalar definition.
std::vector<float> defined(Format format, const uint8_t* blocks, int64_t elements) {
  std::vector<float> out(static_cast<size_t>(elements));
  quant::visit_any_format(format, [&]<class F>(F) { quant::dequantize_blocks<F>(blocks, elements, out.data()); });
  return out;
}

bool same(float actual, float expected) {
  return std::bit_cast<uint32_t>(actual) == std::bit_cast<uint32_t>(expected) ||
         (std::isnan(actual) && std::isnan(expected));
}
bool same_half(uint16_t actual, float weight) {
  return actual == float_to_half(weight) || (std::isnan(half_to_float(actual)) && std::isnan(weight));
}
bool same_bfloat16(uint16_t actual, float weight) {
  return actual == float_to_bfloat16(weight) || (std::isnan(bfloat16_to_float(actual)) && std::isnan(weight));
}

// Whether `actual`, numbers of format `to`, are `weights`, and what follows them is untouched.
constexpr uint8_t kUntouched = 0xa5;
void expect_weights(const std::vector<uint8_t>& actual, Format to, const std::vector<float>& weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    float number;
    uint16_t word;
    if (to == Format::kF32) {
      std::memcpy(&number, actual.data() + 4 * i, 4);
      ASSERT_TRUE(same(number, weights[i])) << i << ": " << number << " for " << weights[i];
    } else {
      std::memcpy(&word, actual.data() + 2 * i, 2);
      ASSERT_TRUE(to == Format::kF16 ? same_half(word, weights[i]) : same_bfloat16(word, weights[i]))
          << i << ": " << std::hex << word << " for " << weights[i];
    }
  }
  const size_t width = to == Format::kF32 ? 4 : 2;
  for (size_t i = weights.size() * width; i < actual.size(); ++i) ASSERT_EQ(actual[i], kUntouched) << "past the end";
}

std::string dequantizer_name(const testing::TestParamInfo<std::tuple<FormatInfo, Format>>& test) {
  return fmt::format("{}_to_{}", std::get<0>(test.param).name, format_info(std::get<1>(test.param)).name);
}

class Dequantizers : public testing::TestWithParam<std::tuple<FormatInfo, Format>> {
 protected:
  void expect_defined_result(const uint8_t* blocks, int64_t block_count) const {
    const int64_t elements = block_count * info_.block_elements;
    const std::vector<float> weights = defined(info_.format, blocks, elements);
    for (const quant::Dequantizers* set : tuned_sets()) {
      SCOPED_TRACE(set->name);
      std::vector<uint8_t> actual(size_t(*format_bytes(to_, uint64_t(elements))) + 64, kUntouched);
      set->to(info_.format, to_)(blocks, elements, actual.data());
      expect_weights(actual, to_, weights);
    }
  }

  const FormatInfo info_ = std::get<0>(GetParam());
  const Format to_ = std::get<1>(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Quant, Dequantizers,
                         testing::Combine(testing::ValuesIn(all_formats().begin(), all_formats().end()),
                                          testing::Values(Format::kF32, Format::kF16, Format::kBF16)),
                         dequantizer_name);
INSTANTIATE_TEST_SUITE_P(Cache, Dequantizers,
                         testing::Combine(testing::Values(format_info(Format::kF8_E4M3)),
                                          testing::Values(Format::kF32, Format::kF16, Format::kBF16)),
                         dequantizer_name);

TEST_P(Dequantizers, EqualTheDefinitionForAnyCountOfBlocksAtAnyAddress) {
  const auto block_bytes = size_t(info_.block_bytes);
  const std::vector<uint8_t> bytes = random_bytes(70 * block_bytes + 8);
  for (const int64_t blocks : {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 67})
    for (const size_t shift : {0, 1, 2, 3, 7}) {
      // Exactly as long as the blocks, for AddressSanitizer to see a load past them.
      const std::vector<uint8_t> exact(bytes.begin(), bytes.begin() + int64_t(shift + size_t(blocks) * block_bytes));
      expect_defined_result(exact.data() + shift, blocks);
      if (HasFatalFailure()) FAIL() << blocks << " blocks, " << shift << " bytes off";
    }
}

// What is written around the caches goes through a chunk that no format knows of: some formats stand for all.
class LargeResults : public Dequantizers {};
INSTANTIATE_TEST_SUITE_P(Quant, LargeResults,
                         testing::Combine(testing::Values(format_info(Format::kF32), format_info(Format::kQ8_0),
                                                          format_info(Format::kQ4_K)),
                                          testing::Values(Format::kF32, Format::kF16, Format::kBF16)),
                         dequantizer_name);

TEST_P(LargeResults, EqualTheDefinitionWhereTheyAreWrittenAroundTheCaches) {
  const int64_t elements = quant::kStreamBytes / (to_ == Format::kF32 ? 4 : 2) + 3 * 256;
  const std::vector<uint8_t> blocks = random_bytes(size_t(*format_bytes(info_.format, uint64_t(elements))));
  const std::vector<float> weights = defined(info_.format, blocks.data(), elements);
  for (const quant::Dequantizers* set : tuned_sets())
    for (const size_t shift : {size_t(0), size_t(20)}) {  // bytes off the boundary of a vector
      SCOPED_TRACE(set->name);
      std::vector<uint8_t> actual(size_t(*format_bytes(to_, uint64_t(elements))) + 64, kUntouched);
      set->to(info_.format, to_)(blocks.data(), elements, actual.data() + shift);
      actual.erase(actual.begin(), actual.begin() + int64_t(shift));
      expect_weights(actual, to_, weights);
      if (HasFatalFailure()) FAIL() << shift << " bytes off";
    }
}

TEST(DequantizeFunction, DecodesEveryCodeOfF8_E4M3) {
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < 256; ++i) codes[i] = uint8_t(i);
  for (const quant::Dequantizers* set : tuned_sets()) {
    std::vector<float> numbers(256);
    set->to_float(Format::kF8_E4M3)(codes.data(), 256, numbers.data());
    for (size_t i = 0; i < 256; ++i) {
      const int exponent = int(i / 8 % 16), eighths = int(i % 8);
      const double size = exponent == 0 ? std::ldexp(eighths, -9) : std::ldexp(8 + eighths, exponent - 10);
      if (i % 128 == 127)
        EXPECT_TRUE(std::isnan(numbers[i])) << set->name << ", " << i;
      else
        EXPECT_TRUE(same(numbers[i], float(i < 128 ? size : -size))) << set->name << ", " << i << ": " << numbers[i];
    }
  }
}

TEST(DequantizeFunction, ToFloat32IsTheSameInBothForms) {
  for (const FormatInfo& info : all_formats()) {
    const std::vector<uint8_t> blocks = random_bytes(size_t(5 * info.block_bytes));
    const int64_t elements = 5 * info.block_elements;
    std::vector<float> first(static_cast<size_t>(elements)), second(static_cast<size_t>(elements));
    dequantize_function(info.format)(blocks.data(), elements, first.data());
    dequantize_function(info.format, Format::kF32)(blocks.data(), elements, second.data());
    EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * 4), 0) << info.name;
  }
}

TEST(DequantizeFunction, GivesNoneButTheFloatFormats) {
  for (const FormatInfo& info : all_formats()) {
    const bool known = info.format == Format::kF32 || info.format == Format::kF16 || info.format == Format::kBF16;
    EXPECT_EQ(dequantize_function(Format::kQ4_0, info.format) != nullptr, known) << info.name;
  }
}

}  // namespace
}  // namespace metallic

// The encoders against llama.cpp's (tests/data/quantize, made by tools/make-quantize-golden.py), and their own
// promises.
#include "quant/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>

#include "base/npy.h"
#include "quant/dequantize.h"
#include "quant/quantize_isa.h"

namespace metallic {
namespace {

constexpr int64_t kRows = 4, kColumns = 1024;
const char* const kKinds[] = {"normal", "outliers", "laplace"};

template <class T>
std::vector<T> golden(const std::string& name) {
  auto array = read_npy(METALLIC_SOURCE_DIR "/tests/data/quantize/" + name + ".npy");
  EXPECT_TRUE(array) << (array ? "" : array.error().message);
  const auto values = array ? array->as<T>() : std::nullopt;
  EXPECT_TRUE(values) << name;
  return values ? std::vector<T>(values->begin(), values->end()) : std::vector<T>();
}

std::vector<char> encode(Format format, std::span<const float> weights, const float* importance) {
  std::vector<char> out(size_t(*format_bytes(format, weights.size())));
  quantize_rows(format, weights.data(), int64_t(weights.size()) / kColumns, kColumns, importance, out.data());
  return out;
}

std::vector<float> decode(Format format, const std::vector<char>& blocks, size_t count) {
  std::vector<float> weights(count);
  dequantize_row(format, blocks.data(), int64_t(count), weights.data());
  return weights;
}

// sqrt(sum w (x - y)^2 / sum w x^2); null importance: w = 1
double relative_error(std::span<const float> x, std::span<const float> y, const float* importance) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = importance == nullptr ? 1.0 : double(importance[i % kColumns]);
    error += w * (double(x[i]) - double(y[i])) * (double(x[i]) - double(y[i]));
    norm += w * double(x[i]) * double(x[i]);
  }
  return std::sqrt(error / norm);
}

double error_of(Format format, std::span<const float> weights, const float* used, const float* measured) {
  return relative_error(weights, decode(format, encode(format, weights, used), weights.size()), measured);
}

std::string format_name(const testing::TestParamInfo<Format>& info) { return format_info(info.param).name; }

class NearestEncoder : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Quant, NearestEncoder,
                         testing::Values(Format::kQ8_0, Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ5_1,
                                         Format::kTQ1_0, Format::kTQ2_0, Format::kMXFP4, Format::kNVFP4, Format::kQ1_0),
                         format_name);

TEST_P(NearestEncoder, GivesLlamaCppsBytes) {
  const std::vector<float> weights = golden<float>("weights");
  const std::vector<int8_t> expected = golden<int8_t>(format_info(GetParam()).name);
  const std::vector<char> bytes = encode(GetParam(), weights, nullptr);
  ASSERT_EQ(bytes.size(), expected.size());
  for (size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(int8_t(bytes[i]), expected[i]) << "byte " << i;
}

// All that are searched; the last four only with importance.
class SearchingEncoder : public testing::TestWithParam<Format> {
 protected:
  struct Errors {
    double plain = 0, weighted = 0;
  };
  // llama.cpp's, by kind of weights.
  std::map<std::string, Errors> reference() const {
    std::ifstream in(METALLIC_SOURCE_DIR "/tests/data/quantize/errors.txt");
    std::map<std::string, Errors> result;
    std::string format, kind;
    for (Errors errors; in >> format >> kind >> errors.plain >> errors.weighted;)
      if (format == format_info(GetParam()).name) result[kind] = errors;
    return result;
  }
  std::span<const float> weights_of(int kind) const {
    return std::span(weights_).subspan(size_t(kind * kRows * kColumns), size_t(kRows * kColumns));
  }

  const std::vector<float> weights_ = golden<float>("weights");
  const std::vector<float> importance_ = golden<float>("importance");
};
INSTANTIATE_TEST_SUITE_P(Quant, SearchingEncoder,
                         testing::Values(Format::kQ2_K, Format::kQ3_K, Format::kQ4_K, Format::kQ5_K, Format::kQ6_K,
                                         Format::kIQ4_NL, Format::kIQ4_XS, Format::kIQ3_S, Format::kIQ3_XXS,
                                         Format::kIQ2_S, Format::kIQ2_XS, Format::kIQ2_XXS, Format::kIQ1_M,
                                         Format::kIQ1_S, Format::kQ4_0, Format::kQ4_1, Format::kQ5_0, Format::kQ5_1),
                         format_name);

TEST_P(SearchingEncoder, ErrsNoMoreThanLlamaCpp) {
  const auto references = reference();
  ASSERT_EQ(references.size(), 3u);
  for (int kind = 0; kind < 3; ++kind) {
    SCOPED_TRACE(kKinds[kind]);
    const Errors bar = references.at(kKinds[kind]);
    EXPECT_LE(error_of(GetParam(), weights_of(kind), nullptr, nullptr), bar.plain + 1e-6);
    EXPECT_LE(error_of(GetParam(), weights_of(kind), importance_.data(), importance_.data()), bar.weighted + 1e-6);
  }
}

TEST_P(SearchingEncoder, ImportanceLowersTheErrorThatItWeighs) {
  for (int kind = 0; kind < 3; ++kind) {
    SCOPED_TRACE(kKinds[kind]);
    const std::span<const float> weights = weights_of(kind);
    EXPECT_LT(error_of(GetParam(), weights, importance_.data(), importance_.data()),
              0.99 * error_of(GetParam(), weights, nullptr, importance_.data()));
  }
}

TEST_P(SearchingEncoder, CopesWithImportanceThatIsZero) {
  std::vector<float> importance(kColumns, 0.0f);
  EXPECT_LT(error_of(GetParam(), weights_of(0), importance.data(), nullptr), 0.6);
  for (size_t i = 0; i < importance.size(); i += 2) importance[i] = 1;
  EXPECT_LT(error_of(GetParam(), weights_of(0), importance.data(), importance.data()), 0.6);
}

std::vector<Format> writable() {
  std::vector<Format> formats;
  for (const FormatInfo& info : all_formats())
    if (can_quantize(info.format)) formats.push_back(info.format);
  return formats;
}

class EveryEncoder : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Quant, EveryEncoder, testing::ValuesIn(writable()), format_name);

TEST_P(EveryEncoder, GivesTheSameBytesOnEveryInstructionSet) {
  std::vector<quant::EncodeRow> encoders;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) encoders.push_back(quant::encode_function_avx2(GetParam()));
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    encoders.push_back(quant::encode_function_avx512(GetParam()));
#endif
  const std::vector<float> weights = golden<float>("weights"), importance = golden<float>("importance");
  for (const float* used : {static_cast<const float*>(nullptr), importance.data()})
    for (size_t row = 0; row < weights.size(); row += 3 * kColumns) {
      std::vector<char> expected(size_t(*format_bytes(GetParam(), kColumns)));
      quant::encode_function_base(GetParam())(&weights[row], kColumns, used, expected.data());
      for (const quant::EncodeRow encoder : encoders) {
        std::vector<char> bytes(expected.size());
        encoder(&weights[row], kColumns, used, bytes.data());
        ASSERT_EQ(bytes, expected) << "row " << row / kColumns;
      }
    }
}

TEST_P(EveryEncoder, KeepsZeroAndStaysFiniteForTheSmallestAndLargest) {
  std::vector<float> weights(kColumns, 0.0f);
  for (const float decoded : decode(GetParam(), encode(GetParam(), weights, nullptr), kColumns))
    ASSERT_EQ(std::fabs(decoded), 0.0f);
  for (const float magnitude : {1e-40f, 1e-20f, 1e-7f, 1e3f}) {
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = magnitude * std::sin(float(i));
    const std::vector<float> decoded = decode(GetParam(), encode(GetParam(), weights, nullptr), kColumns);
    for (const float each : decoded) ASSERT_TRUE(std::isfinite(each)) << magnitude;
    if (magnitude == 1e3f) {
      EXPECT_LT(relative_error(weights, decoded, nullptr), 0.7);
    }
  }
}

// As llama.cpp's C code has it: a Q4_0 or Q5_0 block of zeros has the scale 0 / -8 = -0, whatever the zeros' signs; the
// minimum of a Q4_1 or Q5_1 block is the first of its smallest weights, sign included. (The gguf package takes the
// sign of the first zero for the former, and any zero for the latter.)
TEST(Quantize, SignsOfZeroAreThoseOfLlamaCpp) {
  for (const bool first_negative : {false, true})
    for (const bool others_negative : {false, true}) {
      std::vector<float> weights(32, others_negative ? -0.0f : 0.0f);
      weights[0] = first_negative ? -0.0f : 0.0f;
      for (const Format format : {Format::kQ4_0, Format::kQ5_0, Format::kQ4_1, Format::kQ5_1}) {
        std::vector<uint8_t> block(*format_bytes(format, 32));
        quantize_rows(format, weights.data(), 1, 32, nullptr, block.data());
        SCOPED_TRACE(format_info(format).name);
        const bool has_minimum = format == Format::kQ4_1 || format == Format::kQ5_1;
        EXPECT_EQ(block[0], 0);
        EXPECT_EQ(block[1], has_minimum ? 0 : 0x80);
        if (has_minimum) {
          EXPECT_EQ(block[3], first_negative ? 0x80 : 0);
        }
        EXPECT_EQ(block.back(), format == Format::kQ4_0 ? 0x88 : 0) << "codes";
      }
    }
}

TEST(Quantize, WritesAllFormatsThatFilesStoreWeightsIn) {
  for (const FormatInfo& info : all_formats()) {
    const bool number = info.format == Format::kF64 || (info.format >= Format::kI8 && info.format <= Format::kI64);
    const bool activation = info.format == Format::kQ8_1 || info.format == Format::kQ8_K;
    EXPECT_EQ(can_quantize(info.format), !number && !activation) << info.name;
  }
  EXPECT_FALSE(can_quantize(Format::kF8_E4M3)) << "no file has it";
}

}  // namespace
}  // namespace metallic

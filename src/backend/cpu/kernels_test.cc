// The primitives of each instruction set against their definitions.
#include "backend/cpu/kernels.h"

#include <cstdlib>

#include "backend/test_support.h"

namespace metallic {
namespace {

using testing::Random;

class Kernels : public testing::InstructionSetTest {};
METALLIC_FOR_EACH_INSTRUCTION_SET(Kernels);

bool same_float(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

TEST_P(Kernels, EveryHalfBecomesItsFloatAndBack) {
  std::vector<uint16_t> halves(0x10000), back(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = uint16_t(i);
  std::vector<float> floats(halves.size());
  dequantize_function(Format::kF16)(halves.data(), int64_t(halves.size()), floats.data());
  kernels().float_to_half(floats.data(), int64_t(floats.size()), back.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    ASSERT_TRUE(same_float(floats[i], half_to_float(halves[i]))) << i;
    if (!std::isnan(floats[i])) {
      ASSERT_EQ(back[i], halves[i]);
    }
  }
}

TEST_P(Kernels, FloatToHalfRoundsToNearestEven) {
  std::vector<float> values = Random(3).floats(1001, -70000.0f, 70000.0f);
  for (float magnitude = 1e-9f; magnitude < 1.0f; magnitude *= 1.07f) values.push_back(magnitude);
  for (const float special : {0.0f, -0.0f, 65519.99f, 65520.0f, INFINITY, -INFINITY}) values.push_back(special);
  std::vector<uint16_t> halves(values.size());
  kernels().float_to_half(values.data(), int64_t(values.size()), halves.data());
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(halves[i], float_to_half(values[i])) << values[i];
}

std::vector<float> sweep(float lo, float hi, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[size_t(i)] = float(lo + (double(hi) - lo) * double(i) / double(count - 1));
  for (const float small : {0.0f, 1e-30f, -1e-30f, 1e-4f, -1e-4f}) values.push_back(small);
  return values;
}

// The functions by their definitions, in double and without cancellation.
double exact(Activation activation, double x) {
  const auto sigmoid = [](double v) { return 1.0 / (1.0 + std::exp(-v)); };
  switch (activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case Activation::kGeluTanh:
      return x * sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    case Activation::kGeluQuick:
      return x * sigmoid(1.702 * x);
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
  }
  return x;
}

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kRelu,     Activation::kSilu,
                                       Activation::kGelu,     Activation::kGeluTanh, Activation::kGeluQuick,
                                       Activation::kTanh,     Activation::kSigmoid};

TEST_P(Kernels, ActivationsAreWithinTwoMillionthsOfTheirDefinitions) {
  const std::vector<float> x = sweep(-40.0f, 40.0f, 80003);
  std::vector<float> y(x.size());
  for (const Activation activation : kActivations) {
    kernels().activate(activation, x.data(), nullptr, int64_t(x.size()), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(activation, double(x[i]));
      ASSERT_NEAR(y[i], expected, 2e-6 * std::abs(expected) + 1e-12)
          << "activation " << int(activation) << " of " << x[i];
    }
  }
}

TEST_P(Kernels, ActivationsKeepNotANumber) {
  const std::vector<float> x(kernels().width == 16 ? 19 : 7, NAN);
  for (const Activation activation : kActivations) {
    if (activation == Activation::kRelu) continue;  // x > 0 ? x : 0
    std::vector<float> y(x.size());
    kernels().activate(activation, x.data(), nullptr, int64_t(x.size()), y.data());
    for (const float value : y) EXPECT_TRUE(std::isnan(value)) << int(activation);
  }
}

TEST_P(Kernels, ExpIsRightDownToWhereItCountsForNothing) {
  const std::vector<float> x = sweep(-110.0f, 0.0f, 50021);
  std::vector<float> y(x.size());
  double expected_sum = 0;
  const float sum = kernels().exp_sum(x.data(), int64_t(x.size()), 0.0f, y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = x[i] < -64.0f ? 0.0 : std::exp(double(x[i]));
    ASSERT_NEAR(y[i], expected, 5e-7 * expected) << x[i];
    expected_sum += expected;
  }
  EXPECT_NEAR(sum, expected_sum, 1e-5 * expected_sum);
}

TEST_P(Kernels, MaximumOfNothingIsMinusInfinity) {
  EXPECT_EQ(kernels().maximum(nullptr, 0), -INFINITY);
  for (int64_t count = 1; count < 40; ++count) {
    std::vector<float> x = Random(uint32_t(count)).floats(count, -5.0f, -1.0f);
    for (float& value : x) {
      const float old = std::exchange(value, -0.5f);
      EXPECT_EQ(kernels().maximum(x.data(), count), -0.5f);
      value = old;
    }
  }
}

TEST(KernelsForThisCpu, AnUnknownInstructionSetIsAnErrorThatListsTheKnownOnes) {
  const auto backend = make_cpu_backend({.threads = 1, .isa = "sse9"});
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(backend.error().message.find("'sse9'"), std::string::npos) << backend.error().message;
  EXPECT_NE(backend.error().message.find("scalar"), std::string::npos) << backend.error().message;
}

TEST(KernelsForThisCpu, TheEnvironmentVariableForcesAnInstructionSet) {
  const char* before = std::getenv("METALLIC_ISA");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("METALLIC_ISA", "scalar", 1);
  EXPECT_TRUE(open_backend("cpu", 1).has_value());
  ::setenv("METALLIC_ISA", "fastest", 1);
  const auto backend = open_backend("cpu", 1);
  ASSERT_FALSE(backend.has_value());
  EXPECT_NE(backend.error().message.find("METALLIC_ISA"), std::string::npos) << backend.error().message;
  EXPECT_NE(backend.error().message.find("'fastest'"), std::string::npos) << backend.error().message;
  before != nullptr ? ::setenv("METALLIC_ISA", saved.c_str(), 1) : ::unsetenv("METALLIC_ISA");
}

}  // namespace
}  // namespace metallic

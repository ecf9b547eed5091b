// The public operations on tensors against formulas written out here, on every backend.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/backend.h"
#include "backend/test_support.h"
#include "metallic/tensor.h"

namespace metallic {
namespace {

class TensorOps : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    METALLIC_SKIP_IF_ABSENT(GetParam());
    device_ = Device::open(GetParam(), 2).value();
  }
  std::shared_ptr<Device> device_;

  // Numbers in [-1, 1), the same for the same seed.
  Tensor random(const Shape& shape, uint64_t seed) const {
    return Tensor::random_uniform(device_, shape, -1.0f, 1.0f, seed).value();
  }
  Tensor tensor(const Shape& shape, const std::vector<float>& values) const {
    return Tensor::from_floats(device_, shape, values).value();
  }
};
INSTANTIATE_TEST_SUITE_P(, TensorOps, ::testing::ValuesIn(backend_names().begin(), backend_names().end()),
                         [](const auto& test) { return testing::test_name(test.param); });

std::vector<float> floats(const Tensor& tensor) { return tensor.to_floats().value(); }

void expect_values(const Result<Tensor>& actual, const Shape& shape, const std::vector<double>& expected,
                   double tolerance = 2e-6) {
  ASSERT_TRUE(actual.has_value()) << actual.error().message;
  ASSERT_EQ(actual->shape(), shape) << actual->shape().text();
  const std::vector<float> values = floats(*actual);
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(values[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << "element " << i;
}

void expect_error(const Result<Tensor>& result, const std::string& part) {
  ASSERT_FALSE(result.has_value()) << part;
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST_P(TensorOps, AddAndMulBroadcastLikeNumpy) {
  const Tensor a = random({3, 1, 5}, 1), b = random({4, 1}, 2);
  const std::vector<float> x = floats(a), y = floats(b);
  std::vector<double> sum, product;
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 4; ++j)
      for (size_t k = 0; k < 5; ++k) {
        sum.push_back(double(x[i * 5 + k]) + double(y[j]));
        product.push_back(double(x[i * 5 + k]) * double(y[j]));
      }
  expect_values(add(a, b), {3, 4, 5}, sum);
  expect_values(mul(b, a), {3, 4, 5}, product);
  expect_values(add(random({0, 4}, 1), random({1}, 2)), {0, 4}, {});
  expect_error(add(random({3, 2}, 1), random({3}, 2)), "add: shapes (3, 2) and (3,) do not fit");
}

TEST_P(TensorOps, AddTakesStridedAndHalfInputs) {
  const Tensor a = random({4, 6}, 3), b = random({6, 4}, 4).to(Format::kF16).value();
  const Tensor turned = b.permute(std::vector<int>{1, 0}).value();
  const std::vector<float> x = floats(a), y = floats(b);
  std::vector<double> sum;
  for (size_t i = 0; i < 4; ++i)
    for (size_t j = 0; j < 6; ++j) sum.push_back(double(x[i * 6 + j]) + double(y[j * 4 + i]));
  expect_values(add(a, turned), {4, 6}, sum);
}

TEST_P(TensorOps, MatmulBroadcastsItsBatches) {
  const Tensor a = random({2, 1, 3, 7}, 5), b = random({5, 7, 4}, 6);
  const std::vector<float> x = floats(a), y = floats(b);
  std::vector<double> expected;
  for (size_t i = 0; i < 2; ++i)
    for (size_t j = 0; j < 5; ++j)
      for (size_t n = 0; n < 3; ++n)
        for (size_t m = 0; m < 4; ++m) {
          double sum = 0;
          for (size_t k = 0; k < 7; ++k) sum += double(x[(i * 3 + n) * 7 + k]) * double(y[(j * 7 + k) * 4 + m]);
          expected.push_back(sum);
        }
  expect_values(matmul(a, b), {2, 5, 3, 4}, expected);
  expect_values(matmul(random({3, 0}, 1), random({0, 2}, 2)), {3, 2}, std::vector<double>(6, 0.0));
  expect_error(matmul(random({3, 2}, 1), random({3, 2}, 2)), "(3, 2) and (3, 2)");
  expect_error(matmul(random({3}, 1), random({3, 2}, 2)), "(3,)");
}

TEST_P(TensorOps, LinearAddsTheBiasEvenToNothing) {
  const Tensor x = random({2, 3, 5}, 7), weight = random({4, 5}, 8), bias = random({4}, 9);
  const std::vector<float> a = floats(x), w = floats(weight), c = floats(bias);
  std::vector<double> expected;
  for (size_t n = 0; n < 6; ++n)
    for (size_t m = 0; m < 4; ++m) {
      double sum = double(c[m]);
      for (size_t k = 0; k < 5; ++k) sum += double(a[n * 5 + k]) * double(w[m * 5 + k]);
      expected.push_back(sum);
    }
  expect_values(linear(x, weight, &bias), {2, 3, 4}, expected);
  std::vector<double> biases;
  for (int n = 0; n < 2; ++n) biases.insert(biases.end(), c.begin(), c.end());
  expect_values(linear(random({2, 0}, 1), random({4, 0}, 2), &bias), {2, 4}, biases);
  expect_error(linear(x, random({5, 4}, 1)), "(m, 5), not (5, 4)");
  const Tensor wrong = random({3}, 1);
  expect_error(linear(x, weight, &wrong), "linear: the bias has shape (3,), expected (4,)");
}

TEST_P(TensorOps, LinearMultipliesQuantisedWeights) {
  std::vector<std::byte> bytes(2 * 34);  // two rows of Q8_0: scale 0.5, codes i - 16, and scale -2, codes 1
  bytes[1] = std::byte(0x38);
  bytes[35] = std::byte(0xc0);
  for (int i = 0; i < 32; ++i) {
    bytes[size_t(2 + i)] = std::byte(uint8_t(i - 16));
    bytes[size_t(36 + i)] = std::byte(1);
  }
  const Tensor weight = Tensor::from_bytes(device_, {2, 32}, Format::kQ8_0, bytes).value();
  const Tensor x = random({1, 32}, 11);
  double first = 0, second = 0;
  for (size_t k = 0; k < 32; ++k) {
    first += 0.5 * (double(k) - 16) * double(floats(x)[k]);
    second += -2.0 * double(floats(x)[k]);
  }
  expect_values(linear(x, weight), {1, 2}, {first, second});
}

TEST_P(TensorOps, SoftmaxSumsToOneOverTheLastDimension) {
  const Tensor x = mul(random({3, 4, 9}, 12), tensor({1}, {40})).value();
  const Tensor turned = x.permute(std::vector<int>{1, 2, 0}).value();
  const std::vector<float> values = floats(turned);
  std::vector<double> expected;
  for (size_t row = 0; row < 36; ++row) {
    double sum = 0;
    for (size_t i = 0; i < 3; ++i) sum += std::exp(double(values[row * 3 + i]));
    for (size_t i = 0; i < 3; ++i) expected.push_back(std::exp(double(values[row * 3 + i])) / sum);
  }
  expect_values(softmax(turned), {4, 9, 3}, expected);
  expect_values(softmax(tensor({1, 2}, {1000, -1000})), {1, 2}, {1, 0});
}

TEST_P(TensorOps, ActivationsAreTheirDefinitions) {
  const std::vector<float> x = {-30, -3, -0.5f, -0.0f, 0, 1e-3f, 0.7f, 2, 30};
  const Shape shape{3, 3};
  const auto expected = [&](auto function) {
    std::vector<double> values;
    for (const float value : x) values.push_back(function(double(value)));
    return values;
  };
  expect_values(silu(tensor(shape, x)), shape, expected([](double v) { return v / (1 + std::exp(-v)); }));
  expect_values(gelu(tensor(shape, x)), shape,
                expected([](double v) { return 0.5 * v * std::erfc(-v * std::sqrt(0.5)); }));
  expect_values(activate(tensor(shape, x), Activation::kGeluTanh), shape, expected([](double v) {
                  return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
                }));
  expect_values(activate(tensor(shape, x), Activation::kRelu), shape, expected([](double v) { return v > 0 ? v : 0; }));
  expect_values(activate(tensor(shape, x), Activation::kTanh), shape, expected([](double v) { return std::tanh(v); }));
}

TEST_P(TensorOps, NormsAreTheirFormulas) {
  const Tensor x = random({2, 3, 17}, 13), weight = random({17}, 14), bias = random({17}, 15);
  const std::vector<float> v = floats(x), w = floats(weight), c = floats(bias);
  std::vector<double> rms, layer;
  for (size_t row = 0; row < 6; ++row) {
    double mean = 0, squares = 0, variance = 0;
    for (size_t i = 0; i < 17; ++i) mean += double(v[row * 17 + i]) / 17;
    for (size_t i = 0; i < 17; ++i) {
      squares += std::pow(double(v[row * 17 + i]), 2) / 17;
      variance += std::pow(double(v[row * 17 + i]) - mean, 2) / 17;
    }
    for (size_t i = 0; i < 17; ++i) {
      rms.push_back(double(v[row * 17 + i]) / std::sqrt(squares + 1e-5) * double(w[i]));
      layer.push_back((double(v[row * 17 + i]) - mean) / std::sqrt(variance + 1e-5) * double(w[i]) + double(c[i]));
    }
  }
  expect_values(rms_norm(x, weight, 1e-5f), {2, 3, 17}, rms);
  expect_values(layer_norm(x, weight, &bias, 1e-5f), {2, 3, 17}, layer);
  expect_error(rms_norm(x, random({16}, 1), 1e-5f), "rms_norm: the weight has shape (16,), expected (17,)");
}

TEST_P(TensorOps, RopeRotatesPairsByPositionTimesFrequency) {
  const Tensor x = random({3, 2, 6}, 16);
  const std::vector<float> v = floats(x);
  const std::vector<int32_t> positions = {0, 7, 300};
  for (const RopeStyle style : {RopeStyle::kInterleaved, RopeStyle::kHalves}) {
    std::vector<double> expected(v.begin(), v.end());
    for (size_t row = 0; row < 3; ++row)
      for (size_t head = 0; head < 2; ++head)
        for (size_t i = 0; i < 3; ++i) {
          const double angle = positions[row] * std::pow(100.0, -double(i) / 3);
          const size_t at = (row * 2 + head) * 6;
          const size_t first = at + (style == RopeStyle::kInterleaved ? 2 * i : i);
          const size_t second = style == RopeStyle::kInterleaved ? first + 1 : first + 3;
          expected[first] = double(v[first]) * std::cos(angle) - double(v[second]) * std::sin(angle);
          expected[second] = double(v[first]) * std::sin(angle) + double(v[second]) * std::cos(angle);
        }
    expect_values(rope(x, positions, 100.0f, style), {3, 2, 6}, expected, 5e-5);  // angles are rounded to float
  }
  EXPECT_EQ(floats(x), v) << "the input stays as it was";
  expect_error(rope(x, std::vector<int32_t>{1, 2}, 100.0f, RopeStyle::kHalves), "2 given");
}

// softmax(scale q.k) v with the causal and window masks, straight from the definition.
std::vector<double> attend(const Tensor& query, const Tensor& key, const Tensor& value, double scale, bool causal,
                           int64_t window) {
  const std::vector<float> q = floats(query), k = floats(key), v = floats(value);
  const int64_t n = query.shape()[0], heads = query.shape()[1], d = query.shape()[2];
  const int64_t t = key.shape()[0], kv_heads = key.shape()[1], dv = value.shape()[2];
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t position = t - n + i, kv_head = head * kv_heads / heads;
      std::vector<double> result(size_t(dv), 0.0);
      double sum = 0;
      for (int64_t j = 0; j < t; ++j) {
        if (causal && (j > position || (window > 0 && j <= position - window))) continue;
        if (!causal && window > 0 && std::abs(j - position) > window / 2) continue;
        double score = 0;
        for (int64_t e = 0; e < d; ++e)
          score += double(q[size_t((i * heads + head) * d + e)]) * double(k[size_t((j * kv_heads + kv_head) * d + e)]);
        const double weight = std::exp(scale * score);
        sum += weight;
        for (int64_t e = 0; e < dv; ++e)
          result[size_t(e)] += weight * double(v[size_t((j * kv_heads + kv_head) * dv + e)]);
      }
      for (const double value_sum : result) out.push_back(value_sum / sum);
    }
  return out;
}

TEST_P(TensorOps, AttentionIsItsDefinition) {
  const Tensor q = random({5, 6, 7}, 17), k = random({11, 2, 7}, 18), v = random({11, 2, 3}, 19);
  for (const bool causal : {false, true})
    for (const int window : {0, 1, 4, 100})
      expect_values(attention(q, k, v, 0.7f, causal, window), {5, 6, 3}, attend(q, k, v, 0.7, causal, window));
  // keys that are a permuted view
  const Tensor turned = random({2, 11, 7}, 20).permute(std::vector<int>{1, 0, 2}).value();
  expect_values(attention(q, turned, v, 0.7f, true), {5, 6, 3}, attend(q, turned, v, 0.7, true, 0));
  expect_values(attention(random({0, 6, 7}, 1), k, v, 1.0f, true), {0, 6, 3}, {});
  expect_values(attention(random({2, 0, 7}, 1), k, v, 1.0f, true), {2, 0, 3}, {});
  expect_error(attention(random({5, 5, 7}, 1), k, v, 1.0f, true), "(5, 5, 7)");
  expect_error(attention(random({12, 6, 7}, 1), k, v, 1.0f, true), "n <= t");
}

TEST_P(TensorOps, AnEmptyTensorIsAnErrorNotACrash) {
  const Tensor none, x = random({2, 2}, 1);
  for (const Result<Tensor>& result :
       {add(none, x), mul(x, none), matmul(none, x), linear(none, x), softmax(none), silu(none),
        rms_norm(none, x, 1e-5f), rope(none, {}, 1.0f, RopeStyle::kHalves), attention(none, x, x, 1.0f, true)}) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(TensorOpsDevices, TensorsOfTwoDevicesDoNotMix) {
  const auto a = Tensor::zeros(Device::open("cpu", 1).value(), {2}),
             b = Tensor::zeros(Device::open("cpu", 1).value(), {2});
  expect_error(add(*a, *b), "one device");
}

}  // namespace
}  // namespace metallic

// Views of the public tensors: reshape, permute, slice and copies against plain index computations.
#include "metallic/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/backend.h"
#include "backend/test_support.h"

namespace metallic {
namespace {

class Views : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { METALLIC_SKIP_IF_ABSENT(GetParam()); }
  std::shared_ptr<Device> device() const { return Device::open(GetParam(), 2).value(); }
};
INSTANTIATE_TEST_SUITE_P(, Views, ::testing::ValuesIn(backend_names().begin(), backend_names().end()),
                         [](const auto& test) { return testing::test_name(test.param); });

std::vector<float> count_up(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

// Every ordered way to write `elements` as a product of `rank` sizes.
void all_shapes(int64_t elements, int rank, std::vector<int64_t>& sizes, std::vector<Shape>& out) {
  if (int(sizes.size()) + 1 == rank) {
    sizes.push_back(elements);
    out.emplace_back(std::span<const int64_t>(sizes));
    sizes.pop_back();
    return;
  }
  for (int64_t size = 1; size <= elements; ++size) {
    if (elements % size != 0) continue;
    sizes.push_back(size);
    all_shapes(elements / size, rank, sizes, out);
    sizes.pop_back();
  }
}
std::vector<Shape> all_shapes(int64_t elements) {
  std::vector<Shape> shapes;
  std::vector<int64_t> sizes;
  for (int rank = 1; rank <= kMaxRank; ++rank) all_shapes(elements, rank, sizes, shapes);
  return shapes;
}

// What 0, 1, 2, ... of `shape` reads like in row-major order after permuting: plain index arithmetic.
std::vector<float> permuted(const std::vector<float>& values, const Shape& shape, const std::vector<int>& order) {
  std::vector<int64_t> step(size_t(shape.rank), 1);
  for (int i = shape.rank - 2; i >= 0; --i) step[size_t(i)] = step[size_t(i + 1)] * shape[i + 1];
  std::vector<float> result;
  for (int64_t flat = 0; flat < shape.elements(); ++flat) {
    int64_t rest = flat, index = 0;
    for (int i = shape.rank - 1; i >= 0; --i) {
      const int from = order[size_t(i)];
      index += rest % shape[from] * step[size_t(from)];
      rest /= shape[from];
    }
    result.push_back(values[size_t(index)]);
  }
  return result;
}

std::vector<std::vector<int>> all_orders(int rank) {
  std::vector<int> order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  std::vector<std::vector<int>> orders;
  do orders.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  return orders;
}

TEST_P(Views, ReshapePermuteReshapeEqualsAPlainIndexComputation) {
  const std::shared_ptr<Device> on = device();
  const std::vector<Shape> shapes = {{7},          {1},          {3, 5},       {1, 7},       {5, 1},
                                     {3, 5, 7},    {2, 1, 3},    {1, 1, 5},    {3, 3, 3},    {2, 3, 5, 7},
                                     {3, 1, 5, 1}, {1, 3, 1, 3}, {5, 3, 3, 1}, {1, 1, 1, 1}, {4, 2, 3, 2}};
  for (const Shape& shape : shapes) {
    const std::vector<float> values = count_up(shape.elements());
    const Tensor flat = Tensor::from_floats(on, {shape.elements()}, values).value();
    const Tensor shaped = flat.reshape(shape).value();
    EXPECT_EQ(shaped.view().data, flat.view().data) << "a dense reshape copies nothing";
    const std::vector<Shape> targets = all_shapes(shape.elements());
    for (const std::vector<int>& order : all_orders(shape.rank)) {
      const Tensor turned = shaped.permute(order).value();
      const std::vector<float> expected = permuted(values, shape, order);
      for (const Shape& target : targets) {
        const Tensor result = turned.reshape(target).value();
        ASSERT_EQ(result.shape(), target);
        ASSERT_EQ(result.to_floats().value(), expected) << shape.text() << " as " << target.text();
        // and once more, from a view that may be strided
        std::vector<int> reversed(static_cast<size_t>(target.rank));
        std::iota(reversed.rbegin(), reversed.rend(), 0);
        ASSERT_EQ(result.permute(reversed).value().reshape({shape.elements()}).value().to_floats().value(),
                  permuted(expected, target, reversed));
      }
    }
  }
}

TEST_P(Views, ReshapeIsAViewWhereStridesAllow) {
  const Tensor x = Tensor::from_floats(device(), {4, 6, 5}, count_up(120)).value();
  const Tensor slice = x.slice(1, 1, 5).value();  // (4, 4, 5), rows still dense
  EXPECT_EQ(slice.reshape({4, 20}).value().view().data, slice.view().data);
  EXPECT_EQ(slice.reshape({2, 2, 2, 10}).value().view().data, slice.view().data);
  EXPECT_NE(slice.reshape({16, 5}).value().view().data, slice.view().data);
}

TEST_P(Views, SlicesTakeEveryBeginEndAndStep) {
  const int64_t sizes[] = {3, 4, 5};
  const Tensor x = Tensor::from_floats(device(), {3, 4, 5}, count_up(60)).value();
  for (int dimension = 0; dimension < 3; ++dimension)
    for (int64_t begin = 0; begin <= sizes[dimension]; ++begin)
      for (int64_t end = begin; end <= sizes[dimension]; ++end)
        for (const int64_t step : {int64_t(1), int64_t(2), int64_t(3), INT64_MAX}) {
          std::vector<float> expected;
          for (int64_t i = 0; i < 60; ++i) {
            const int64_t index[] = {i / 20, i / 5 % 4, i % 5};
            const int64_t at = index[dimension] - begin;
            if (at >= 0 && index[dimension] < end && at % step == 0) expected.push_back(float(i));
          }
          const Tensor slice = x.slice(dimension, begin, end, step).value();
          ASSERT_EQ(slice.to_floats().value(), expected);
          ASSERT_EQ(slice.shape().elements(), int64_t(expected.size()));
        }
}

TEST_P(Views, ASliceOfASliceReachesTheSameElements) {
  const Tensor x = Tensor::from_floats(device(), {100}, count_up(100)).value();
  const Tensor y = x.slice(0, 10, 90, 3).value().slice(0, 2, 20, 4).value();
  EXPECT_EQ(y.to_floats().value(), (std::vector<float>{16, 28, 40, 52, 64}));
}

TEST_P(Views, ConversionsRoundAndComeBack) {
  const Tensor x =
      Tensor::from_floats(device(), {2, 3}, std::vector<float>{1, -2, 0.5f, 65504, 3.14159265f, 1e-8f}).value();
  EXPECT_EQ(x.to(Format::kF16).value().to_floats().value(), (std::vector<float>{1, -2, 0.5f, 65504, 3.140625f, 0}));
  EXPECT_EQ(x.to(Format::kBF16).value().slice(1, 0, 3, 2).value().to_floats().value(),
            (std::vector<float>{1, 0.5f, 65536, 0x1.58p-27f}));
}

TEST_P(Views, QuantisedTensorsSliceByBlocksAndConvertToFloats) {
  std::vector<std::byte> bytes(4 * 34);  // (2, 64) of Q8_0: scale 1, codes 0, 1, ...
  for (size_t block = 0; block < 4; ++block) {
    bytes[block * 34 + 1] = std::byte(0x3c);
    for (size_t i = 0; i < 32; ++i) bytes[block * 34 + 2 + i] = std::byte(block * 32 + i);
  }
  const Tensor x = Tensor::from_bytes(device(), {2, 64}, Format::kQ8_0, bytes).value();
  EXPECT_EQ(x.slice(1, 32, 64).value().slice(0, 1, 2).value().to_floats().value().front(), 96.0f);
  EXPECT_EQ(x.reshape({4, 32}).value().slice(0, 2, 3).value().to_floats().value().front(), 64.0f);
  const auto cut = x.slice(1, 1, 33);
  ASSERT_FALSE(cut.has_value());
  EXPECT_NE(cut.error().message.find("Q8_0"), std::string::npos) << cut.error().message;
  EXPECT_FALSE(x.permute(std::vector<int>{1, 0}).has_value());
  EXPECT_FALSE(x.to(Format::kF16).has_value());
}

TEST_P(Views, RandomUniformIsTheSameOnEveryBackend) {
  const auto reference = Tensor::random_uniform(Device::open("reference").value(), {7, 33}, -1.0f, 2.0f, 5);
  const auto here = Tensor::random_uniform(device(), {7, 33}, -1.0f, 2.0f, 5);
  EXPECT_EQ(here->to_floats().value(), reference->to_floats().value());
  EXPECT_NE(Tensor::random_uniform(device(), {7, 33}, -1.0f, 2.0f, 6)->to_floats().value(), here->to_floats().value());
}

TEST_P(Views, RandomUniformOfAnySizeIsTheBeginningOfALongerOne) {
  constexpr int64_t kMost = (1 << 20) + 3;
  const auto all =
      Tensor::random_uniform(Device::open("reference").value(), {kMost}, 0.0f, 1.0f, 77)->to_floats().value();
  for (const int64_t count : {int64_t(1), int64_t(2), int64_t(3), int64_t(4), int64_t(5), int64_t(1023), kMost}) {
    const auto here = Tensor::random_uniform(device(), {count}, 0.0f, 1.0f, 77)->to_floats().value();
    EXPECT_TRUE(testing::same_bits(here, std::vector<float>(all.begin(), all.begin() + count))) << count;
  }
}

TEST_P(Views, ViewsKeepTheMemoryAlive) {
  Tensor view;
  {
    const Tensor x = Tensor::from_floats(device(), {4, 5}, count_up(20)).value();
    view = x.slice(0, 3, 4).value();
  }
  EXPECT_EQ(view.to_floats().value(), (std::vector<float>{15, 16, 17, 18, 19}));
}

// Each wrong call is kInvalidArgument, and its message says what was given.
TEST_P(Views, ErrorsSayWhatDoesNotFit) {
  const std::shared_ptr<Device> on = device();
  const Tensor x = Tensor::zeros(on, {3, 4}).value();
  const auto expect_error = [](const auto& result, const std::string& part) {
    ASSERT_FALSE(result.has_value()) << part;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  expect_error(x.reshape({5}), "(3, 4) has 12 elements, (5,) has 5");
  expect_error(x.reshape({-3, -4}), "(-3, -4)");
  expect_error(x.permute(std::vector<int>{0}), "1 dimensions given for a tensor of rank 2");
  expect_error(x.permute(std::vector<int>{0, 0}), "dimension 0");
  expect_error(x.permute(std::vector<int>{0, 2}), "dimension 2");
  expect_error(x.slice(2, 0, 1), "dimension 2");
  expect_error(x.slice(0, 2, 4), "[2, 4)");
  expect_error(x.slice(0, 0, 3, 0), "step 0");
  expect_error(Tensor::from_floats(on, {3}, std::vector<float>(2)), "8 bytes given");
  expect_error(Tensor::zeros(on, {INT64_MAX, 2}), "too large");
  expect_error(Tensor::zeros(on, {3, 33}, Format::kQ4_0), "multiple of 32");
  expect_error(Tensor::zeros(nullptr, {3}), "device");
  expect_error(Tensor::random_uniform(on, {3}, 1.0f, 1.0f, 0), "not empty");
  expect_error(Tensor::random_uniform(on, {3}, 0.0f, NAN, 0), "finite");
}

TEST_P(Views, MoreMemoryThanThereIsIsAnErrorThatSaysHowMuch) {
  const auto huge = Tensor::zeros(device(), {int64_t(1) << 60});
  ASSERT_FALSE(huge.has_value());
  EXPECT_EQ(huge.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(huge.error().message.find("4611686018427387904"), std::string::npos) << huge.error().message;
}

TEST(DeviceOpen, CpuComesFirstAndAnUnknownNameListsTheKnownOnes) {
  EXPECT_STREQ(backend_names().front(), "cpu");
  const auto device = Device::open("gpu");
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().code, ErrorCode::kNotFound);
  EXPECT_NE(device.error().message.find("cpu, cpu-f32, reference"), std::string::npos) << device.error().message;
  EXPECT_EQ(Device::open("cpu", -1).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace metallic

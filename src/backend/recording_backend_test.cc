#include "backend/recording_backend.h"

#include <gtest/gtest.h>

namespace metallic {
namespace {

class Recording : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Backends, Recording, testing::Values("cpu", "reference"));  // whose memory is the test's

TEST_P(Recording, SumsTheSquaresOfWhatEachMatrixIsMultipliedWithAndChangesNoResult) {
  auto inner = open_backend(GetParam(), 1);
  ASSERT_TRUE(inner);
  RecordingBackend backend(*inner);
  constexpr int64_t kColumns = 32, kRows = 3, kOutputs = 2;
  std::vector<float> first(kColumns * kOutputs, 0.5f), second(kColumns * kOutputs, -1.0f), unused(first);
  const auto load = [&](std::vector<float>& data) {
    auto weight = backend.load_weight(TensorView::dense(data.data(), Format::kF32, {kOutputs, kColumns}), nullptr);
    EXPECT_TRUE(weight);
    return std::move(*weight);
  };
  const Weight a = load(first), b = load(second), c = load(unused);
  const Weight copy_of_a = a;

  std::vector<float> x(kRows * kColumns);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i % 7) - 2;
  std::vector<float> out_a(kRows * kOutputs), out_b(kRows * kOutputs), expected(kRows * kOutputs);
  const LinearTarget targets[] = {
      {&copy_of_a, nullptr, TensorView::dense(out_a.data(), Format::kF32, {kRows, kOutputs}), false},
      {&b, nullptr, TensorView::dense(out_b.data(), Format::kF32, {kRows, kOutputs}), false}};
  const TensorView view = TensorView::dense(x.data(), Format::kF32, {kRows, kColumns});
  backend.linear({view, targets});
  backend.linear({view, std::span(targets).first(1)});
  const LinearTarget plain{&a, nullptr, TensorView::dense(expected.data(), Format::kF32, {kRows, kOutputs}), false};
  (*inner)->linear({view, {&plain, 1}});
  EXPECT_EQ(out_a, expected);

  EXPECT_EQ(backend.statistics().size(), 2u);
  EXPECT_EQ(backend.statistics().count(unused.data()), 0u);
  ASSERT_EQ(backend.statistics().count(first.data()), 1u);
  ASSERT_EQ(backend.statistics().count(second.data()), 1u);
  const InputStatistics& of_a = backend.statistics().at(first.data());
  const InputStatistics& of_b = backend.statistics().at(second.data());
  EXPECT_EQ(of_a.rows, 2u * kRows);
  EXPECT_EQ(of_b.rows, uint64_t(kRows));
  ASSERT_EQ(of_b.squares.size(), size_t(kColumns));
  for (size_t column = 0; column < size_t(kColumns); ++column) {
    double sum = 0;
    for (size_t row = 0; row < size_t(kRows); ++row)
      sum += double(x[row * kColumns + column]) * double(x[row * kColumns + column]);
    EXPECT_EQ(of_b.squares[column], sum);
    EXPECT_EQ(of_a.squares[column], 2 * sum);
  }
}

}  // namespace
}  // namespace metallic

#include "backend/timing_backend.h"

#include <gtest/gtest.h>

#include <vector>

namespace metallic {
namespace {

TEST(Timing, CountsOperationsByWhatTheyDoAndChangesNoResult) {
  auto inner = open_backend("cpu", 1);
  ASSERT_TRUE(inner);
  TimingBackend backend(*inner);
  constexpr int64_t kColumns = 32, kRows = 3, kOutputs = 2;
  std::vector<float> data(kColumns * kOutputs, 0.5f), x(kRows * kColumns, 2.0f);
  const auto weight = backend.load_weight(TensorView::dense(data.data(), Format::kF32, {kOutputs, kColumns}), nullptr);
  ASSERT_TRUE(weight);
  std::vector<float> out(kRows * kOutputs), other(out);
  const LinearTarget targets[] = {
      {&*weight, nullptr, TensorView::dense(out.data(), Format::kF32, {kRows, kOutputs}), false},
      {&*weight, nullptr, TensorView::dense(other.data(), Format::kF32, {kRows, kOutputs}), false}};
  const TensorView view = TensorView::dense(x.data(), Format::kF32, {kRows, kColumns});
  backend.linear({view, targets});
  backend.linear({view, targets});
  backend.linear({view, std::span(targets).first(1)});
  backend.scale(targets[0].out, 0.25f, 0.0f);
  EXPECT_EQ(out, std::vector<float>(kRows * kOutputs, 8.0f));

  const OperationTimes& times = backend.times();
  ASSERT_EQ(times.kinds.size(), 3u);
  const OperationTime& both = times.kinds.at("linear 32 x 2 + 2, F32");
  EXPECT_EQ(both.calls, 2u);
  EXPECT_EQ(both.weight_bytes, 2.0 * 2 * double(data.size() * sizeof(float)));
  EXPECT_EQ(both.operations, 2.0 * 2 * 2 * kRows * kOutputs * kColumns);
  EXPECT_EQ(times.kinds.at("linear 32 x 2, F32").calls, 1u);
  EXPECT_EQ(times.kinds.at("scale").calls, 1u);
  EXPECT_EQ(times.kinds.at("scale").weight_bytes, 0.0);
  EXPECT_GT(times.elapsed, 0.0);
  EXPECT_GE(times.between(), 0.0);
  EXPECT_LT(times.between(), times.elapsed);

  backend.clear();
  EXPECT_TRUE(backend.times().kinds.empty());
  EXPECT_EQ(backend.times().elapsed, 0.0);
}

}  // namespace
}  // namespace metallic

// Which products become one, and what is done before and between the slices.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backend/cuda/slices.h"

namespace metallic::cuda {
namespace {

constexpr int kRows = 4, kWidth = 16;

class CudaSlices : public ::testing::Test {
 protected:
  // A product of rows of buffer `from`; its results are columns of buffer `to` from number `first` on.
  Command linear(int from, int to, int first, int outputs) {
    Command command(CommandKind::kLinear);
    LinearArgs& a = command.linear;
    a.x = {memory_[from], kWidth};
    a.rows = kRows;
    a.columns = kWidth;
    a.count = 1;
    a.targets[0] = target(to, first, outputs);
    return command;
  }
  LinearArgs::Target target(int to, int first, int outputs) {
    LinearArgs::Target result = {};
    result.weight.rows = outputs;
    result.weight.columns = kWidth;
    result.weight.format = Format::kQ8_0;
    result.weight.layout = Layout::kPlanes;
    result.out = {memory_[to] + first, kWidth};
    return result;
  }
  static Command other() { return Command(CommandKind::kActivate); }

  void point(size_t commands, char name) {
    points_.add(commands, [this, name] { done_ += name; });
  }
  void join(const std::vector<Command>& commands, bool can_join = true) {
    joined_.join(commands, points_, [=](const LinearArgs&) { return can_join; });
  }

  float memory_[4][kRows * kWidth] = {};
  Points points_;
  JoinedCommands joined_;
  std::string done_;
};

TEST_F(CudaSlices, PointsArePassedInOrderAndOnce) {
  point(0, 'a');
  point(1, 'b');
  point(1, 'c');
  point(3, 'd');
  EXPECT_TRUE(points_.any(2, 3));
  EXPECT_FALSE(points_.any(2, 2));
  points_.pass(0);
  EXPECT_EQ(done_, "a");
  points_.pass(2);
  points_.pass(2);
  EXPECT_EQ(done_, "abc");
  points_.pass_all();
  EXPECT_EQ(done_, "abcd");
}

TEST_F(CudaSlices, SlicesOfAMatrixBecomeOneProduct) {
  point(0, 'w');
  point(1, 'm');
  point(1, 'w');
  join({linear(0, 1, 0, 8), linear(0, 1, 8, 4), linear(0, 1, 12, 4), other()});
  ASSERT_EQ(joined_.commands().size(), 2u);
  ASSERT_TRUE(is_joined(joined_.commands()[0]));
  const LinearArgs& linear = joined_.commands()[0].linear;
  ASSERT_EQ(linear.count, 1);
  EXPECT_EQ(linear.targets[0].weight.rows, kWidth);
  EXPECT_EQ(linear.targets[0].out.data, memory_[1]);
  const Slices& slices = slices_of(linear.targets[0].weight);
  ASSERT_EQ(slices.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(slices[i].command, i);
  EXPECT_EQ(slices[1].weight.rows, 4);
  EXPECT_EQ(joined_.origin(1), 3u);
  EXPECT_EQ(joined_.from(0).size(), 2u);  // what follows may be launched with it
}

TEST_F(CudaSlices, MatricesWithTheSameInputBecomeTargetsOfOneProduct) {
  Command both = linear(0, 1, 8, 8);
  both.linear.count = 2;
  both.linear.targets[1] = target(2, 0, 8);
  point(1, 'w');
  join({linear(0, 1, 0, 8), both, linear(0, 2, 8, 8)});
  ASSERT_EQ(joined_.commands().size(), 1u);
  const LinearArgs& linear = joined_.commands()[0].linear;
  ASSERT_EQ(linear.count, 2);
  ASSERT_EQ(slices_of(linear.targets[0].weight).size(), 2u);
  ASSERT_EQ(slices_of(linear.targets[1].weight).size(), 2u);
  EXPECT_EQ(slices_of(linear.targets[1].weight)[0].command, 1u);
  EXPECT_EQ(slices_of(linear.targets[1].weight)[1].command, 2u);
}

// A mark behind a command says that its weights are no longer needed, all of them.
TEST_F(CudaSlices, PointsBehindACommandWaitForAllOfItsMatrices) {
  Command both = linear(0, 1, 8, 8);
  both.linear.count = 2;
  both.linear.targets[1] = target(2, 0, 16);
  point(0, 'w');
  point(2, 'm');
  join({linear(0, 1, 0, 8), both, other()});
  ASSERT_EQ(joined_.commands().size(), 2u);
  const LinearArgs& joined = joined_.commands()[0].linear;
  const WeightRef matrices[] = {joined.targets[0].weight, joined.targets[1].weight};
  Parts parts;
  collect_parts(joined, matrices, parts);
  EXPECT_EQ(parts.reached, (std::vector<size_t>{0, 1, 1, 2}));
  EXPECT_EQ(parts.weights.size(), 3u);
  collect_parts(joined, std::span(matrices).first(1), parts);  // one after the other
  EXPECT_EQ(parts.reached, (std::vector<size_t>{0, 1, 1}));
  collect_parts(joined, std::span(matrices).last(1), parts);
  EXPECT_EQ(parts.reached, (std::vector<size_t>{1, 2}));
}

TEST_F(CudaSlices, WhatDoesNotContinueStaysApart) {
  const float bias[kWidth] = {};
  for (const char* const why : {"input", "bias", "accumulate", "format", "gap", "target is the input"}) {
    SCOPED_TRACE(why);
    Command next = linear(0, 1, 8, 8);
    LinearArgs::Target& target = next.linear.targets[0];
    if (why == std::string("input")) next.linear.x.data = memory_[2];
    if (why == std::string("bias")) target.bias = bias;
    if (why == std::string("accumulate")) target.accumulate = 1;
    if (why == std::string("format")) target.weight.format = Format::kQ4_0;
    if (why == std::string("gap")) target.out.data += 1;
    if (why == std::string("target is the input")) target.out.data = memory_[0];
    points_.clear();
    point(1, 'w');
    join({linear(0, 1, 0, 8), next});
    ASSERT_EQ(joined_.commands().size(), 2u);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(joined_.commands()[size_t(i)].linear.count, 1);
    EXPECT_EQ(slices_of(joined_.commands()[0].linear.targets[0].weight).size(), 1u);
  }
}

TEST_F(CudaSlices, BiasesContinueWithTheirRows) {
  const float bias[kWidth] = {};
  Command first = linear(0, 1, 0, 8), second = linear(0, 1, 8, 8);
  first.linear.targets[0].bias = bias;
  second.linear.targets[0].bias = bias + 8;
  point(1, 'w');
  join({first, second});
  ASSERT_EQ(joined_.commands().size(), 1u);
  EXPECT_EQ(joined_.commands()[0].linear.targets[0].bias, bias);
}

// A command is taken as a whole or not at all.
TEST_F(CudaSlices, ACommandWithTooManyTargetsIsLeftAsItWas) {
  Command three = linear(0, 1, 8, 8);
  three.linear.count = 3;
  three.linear.targets[1] = target(2, 0, 4);
  three.linear.targets[2] = target(2, 8, 4);
  Command fourth = linear(0, 1, 0, 8);
  fourth.linear.count = 2;
  fourth.linear.targets[1] = target(3, 0, 8);  // not the matrix that goes on
  point(0, 'w');
  point(1, 'w');
  join({fourth, three});
  ASSERT_EQ(joined_.commands().size(), 2u);
  EXPECT_EQ(joined_.commands()[0].linear.count, 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(slices_of(joined_.commands()[0].linear.targets[i].weight).size(), 1u);
  EXPECT_EQ(joined_.commands()[1].linear.count, 3);
}

TEST_F(CudaSlices, ProductsWithoutPointsStayAsTheyAre) {
  point(3, 'w');
  join({linear(0, 1, 0, 8), other(), other(), linear(1, 2, 0, 8)});
  ASSERT_EQ(joined_.commands().size(), 4u);
  EXPECT_FALSE(is_joined(joined_.commands()[0]));
  EXPECT_EQ(joined_.commands()[0].linear.targets[0].weight.layout, Layout::kPlanes);
  EXPECT_TRUE(is_joined(joined_.commands()[3]));
}

// What has to read its weights where they are is launched behind its points, with nothing before it.
TEST_F(CudaSlices, WhatCannotBeJoinedIsBehindAFence) {
  point(1, 'w');
  point(2, 'm');
  point(3, 'w');
  join({other(), linear(0, 1, 0, 8), other(), linear(0, 2, 0, 8), other()}, false);
  ASSERT_EQ(joined_.commands().size(), 5u);
  EXPECT_EQ(joined_.from(0).size(), 1u);
  EXPECT_EQ(joined_.from(1).size(), 2u);
  EXPECT_EQ(joined_.from(3).size(), 2u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_FALSE(is_joined(joined_.commands()[i]));
    EXPECT_EQ(joined_.origin(i), i);
  }
}

}  // namespace
}  // namespace metallic::cuda

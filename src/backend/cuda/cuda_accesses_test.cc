// Which results a fused kernel may leave out: those that nobody reads before they are overwritten as a whole.
#include <gtest/gtest.h>

#include <vector>

#include "backend/cuda/accesses.h"

namespace metallic::cuda {
namespace {

constexpr int kRows = 4, kWidth = 16;

class CudaAccesses : public ::testing::Test {
 protected:
  Rows rows(int buffer) { return {memory_[buffer], kWidth}; }
  Region region(int buffer) { return region_of(rows(buffer), kRows, kWidth); }

  Command norm(int from, int to) {
    Command command(CommandKind::kNorm);
    NormArgs& a = command.norm;
    a.rows = kRows;
    a.heads = 1;
    a.width = kWidth;
    a.x = {memory_[from], kWidth, kWidth};
    a.out = {memory_[to], kWidth, kWidth};
    return command;
  }
  Command linear(int from, int to, int outputs = kWidth, bool accumulate = false) {
    Command command(CommandKind::kLinear);
    LinearArgs& a = command.linear;
    a.x = rows(from);
    a.rows = kRows;
    a.columns = kWidth;
    a.count = 1;
    a.targets[0].weight.rows = outputs;
    a.targets[0].out = rows(to);
    a.targets[0].accumulate = accumulate;
    return command;
  }
  Command add(int a, int b, int to) {
    Command command(CommandKind::kBinary);
    const auto view = [&](int buffer) {
      return Strided{reinterpret_cast<char*>(memory_[buffer]), {kRows * kWidth * 4, kRows * kWidth * 4, kWidth * 4, 4}};
    };
    const int64_t size[4] = {1, 1, kRows, kWidth};
    std::copy(size, size + 4, command.binary.size);
    command.binary.a = view(a);
    command.binary.b = view(b);
    command.binary.out = view(to);
    return command;
  }
  bool read(int buffer, const std::vector<Command>& commands) { return may_be_read(region(buffer), commands); }

 private:
  float memory_[4][kRows * kWidth] = {};
};

TEST_F(CudaAccesses, WhatOutlivesTheListMayBeRead) {
  EXPECT_TRUE(read(0, {}));
  EXPECT_TRUE(read(0, {norm(1, 2), linear(2, 3)}));
}

TEST_F(CudaAccesses, WhatIsOverwrittenBeforeItIsReadIsNotRead) {
  EXPECT_FALSE(read(0, {linear(1, 2), norm(2, 0)}));
  EXPECT_FALSE(read(0, {add(1, 2, 0), norm(0, 1)}));
}

TEST_F(CudaAccesses, WhatIsReadFirstIsRead) {
  EXPECT_TRUE(read(0, {norm(0, 1), norm(1, 0)}));
  EXPECT_TRUE(read(0, {norm(0, 0)}));
  EXPECT_TRUE(read(0, {add(1, 0, 0)}));
  EXPECT_TRUE(read(0, {linear(1, 0, kWidth, true)}));
}

TEST_F(CudaAccesses, ARowOfItIsEnoughToReadIt) {
  Command part = norm(0, 1);
  part.norm.rows = 1;
  part.norm.x.data += (kRows - 1) * kWidth;
  EXPECT_TRUE(read(0, {part, norm(1, 0)}));
}

TEST_F(CudaAccesses, OverwrittenInPartIsNotOverwritten) {
  EXPECT_TRUE(read(0, {linear(1, 0, kWidth - 1)}));
  Command fewer = norm(1, 0);
  fewer.norm.rows = kRows - 1;
  EXPECT_TRUE(read(0, {fewer}));
}

TEST_F(CudaAccesses, OfUnknownCommandsTheWorstIsAssumed) {
  EXPECT_TRUE(read(0, {Command(CommandKind::kCopy), norm(1, 0)}));
}

}  // namespace
}  // namespace metallic::cuda

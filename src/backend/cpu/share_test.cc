#include "backend/cpu/share.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace metallic::cpu {
namespace {

using Range = std::pair<int64_t, int64_t>;

TEST(Share, GivesHalvesFromTheFrontAndFromTheBack) {
  Share share;
  int64_t begin = 0, end = 0;
  EXPECT_EQ(share.left(), 0);
  EXPECT_FALSE(share.take_first(1, begin, end));
  share.set(10, 21);
  ASSERT_TRUE(share.take_first(1, begin, end));
  EXPECT_EQ(Range(begin, end), Range(10, 16));
  ASSERT_TRUE(share.take_last(1, begin, end));
  EXPECT_EQ(Range(begin, end), Range(18, 21));
  EXPECT_EQ(share.left(), 2);
  ASSERT_TRUE(share.take_last(8, begin, end));  // fewer are left
  EXPECT_EQ(Range(begin, end), Range(16, 18));
  EXPECT_FALSE(share.take_last(8, begin, end));
}

TEST(Share, GivesAtLeastSoManyItems) {
  Share share;
  share.set(0, 10);
  std::vector<Range> ranges;
  for (int64_t begin = 0, end = 0; share.take_first(4, begin, end);) ranges.emplace_back(begin, end);
  EXPECT_EQ(ranges, (std::vector<Range>{{0, 5}, {5, 9}, {9, 10}}));
}

// An owner that takes and sets again, and three others that take.
TEST(Share, EachItemGoesToOneThread) {
  constexpr int64_t kItems = 2000;
  constexpr int kRounds = 20, kOthers = 3;
  Share share;
  std::vector<std::atomic<int>> times(size_t(kRounds * kItems));
  std::atomic<bool> done{false};
  const auto count = [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) times[size_t(item)].fetch_add(1);
  };
  std::vector<std::thread> others;
  for (int i = 0; i < kOthers; ++i)
    others.emplace_back([&] {
      int64_t begin = 0, end = 0;
      while (!done.load() || share.left() > 0)
        if (share.take_last(3, begin, end)) count(begin, end);
    });
  for (int round = 0; round < kRounds; ++round) {
    share.set(round * kItems, (round + 1) * kItems);
    for (int64_t begin = 0, end = 0; share.take_first(1, begin, end);) count(begin, end);
  }
  done.store(true);
  for (std::thread& other : others) other.join();
  for (const std::atomic<int>& each : times) ASSERT_EQ(each.load(), 1);
}

}  // namespace
}  // namespace metallic::cpu

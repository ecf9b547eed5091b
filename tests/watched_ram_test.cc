// Other processes take RAM and give it back while requests run.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "support/engine_bench.h"

namespace metallic {
namespace {

using testing::answers;
using testing::Bench;
using testing::kPlenty;

constexpr uint64_t kMB = 1'000'000;
constexpr uint64_t kMargin = uint64_t{64} << 20;  // of a machine with less than 2 GB

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// On a device that has room for a third of the weights, or on the CPU.
Bench bench_with_weights_in_ram(bool gpu) {
  Bench bench(gpu, Bench::kSliced);
  bench.free_ram = kPlenty;
  if (!gpu) return bench;
  const Bench::Range range = bench.range();
  bench.options.memory.gpu_bytes = range.least + range.weights / 3;
  return bench;
}

class RamThatOthersTake : public ::testing::TestWithParam<bool> {};

TEST_P(RamThatOthersTake, IsLeftToThemAndTakenBackLater) {
  Bench undisturbed = bench_with_weights_in_ram(GetParam());
  const auto expected = answers(**undisturbed.load(), [](int) {});
  Bench bench = bench_with_weights_in_ram(GetParam());
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  const std::string before = (*engine)->info().weight_places;
  ASSERT_TRUE(has(before, "in RAM")) << before;
  ASSERT_FALSE(has(before, "on disk")) << before;
  std::string meanwhile;
  const auto got = answers(**engine, [&](int step) {
    if (step == 3) bench.free_ram = 1;
    if (step == 6) {
      meanwhile = (*engine)->info().weight_places;
      bench.free_ram = kPlenty;
    }
  });
  EXPECT_EQ(got, expected);
  EXPECT_TRUE(has(meanwhile, "on disk") && !has(meanwhile, "in RAM")) << meanwhile;
  EXPECT_EQ((*engine)->info().weight_places, before);  // after it was there for a while
  EXPECT_EQ((*engine)->statistics().weight_moves, 2u);
}

// Neither is a memory that is nearly full short, nor one that was full a moment ago free.
TEST_P(RamThatOthersTake, MovesNothingToAndFro) {
  Bench bench = bench_with_weights_in_ram(GetParam());
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  (void)answers(**engine, [&](int step) { bench.free_ram = step % 2 == 0 ? kMargin * 6 / 10 : kMargin * 11 / 10; });
  EXPECT_EQ((*engine)->statistics().weight_moves, 0u);
  bench.free_ram = 1;
  (void)answers(**engine, [&](int step) {
    if (step > 0) bench.free_ram = step % 10 == 0 ? kMargin : kPlenty;
  });
  EXPECT_EQ((*engine)->statistics().weight_moves, 1u);
  EXPECT_TRUE(has((*engine)->info().weight_places, "on disk"));
}
INSTANTIATE_TEST_SUITE_P(, RamThatOthersTake, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "BesideADevice" : "OnTheCpu"; });

// What a step lacks is taken from RAM where the device has no weights to give up.
TEST(WatchedRam, IsGivenUpWhenAStepLacksMemory) {
  Bench bench = bench_with_weights_in_ram(true);
  bench.options.memory.gpu_bytes = bench.range().least;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  const auto expected = answers(**engine, [](int) {});
  bool from_disk = false;
  const auto got = answers(**engine, [&](int step) {
    from_disk = from_disk || has((*engine)->info().weight_places, "on disk");
    if (step >= 2 && !from_disk)
      bench.device->failure = tl::unexpected<Error>(Error{ErrorCode::kOutOfMemory, "no room for working memory"});
  });
  EXPECT_EQ(got, expected);
  EXPECT_TRUE(from_disk);
}

TEST(WatchedRam, AMappedFileIsLeftToThePageCache) {
  Bench bench(false, Bench::kSliced);
  bench.options.repack = false;
  bench.free_ram = 1;
  bench.ram_stalls = 1;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 0u);
}

TEST(WatchedRam, ABudgetThatIsThereIsKeptWhateverIsFree) {
  Bench bench(false, Bench::kSliced);
  const Bench::Range range = bench.range();
  bench.options.memory.ram_bytes = (range.least + range.most) / 2;
  bench.free_ram = kPlenty;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  const std::string places = (*engine)->info().weight_places;
  ASSERT_TRUE(has(places, "in RAM") && has(places, "on disk")) << places;
  (void)answers(**engine, [&](int step) { bench.free_ram = step % 3 == 0 ? kPlenty : 100 * kMB; });
  EXPECT_EQ((*engine)->statistics().weight_moves, 0u);
  // What others take of it, and give back, is used again; nothing beyond.
  (void)answers(**engine, [&](int step) { bench.free_ram = step < 3 ? 1 : kPlenty; });
  EXPECT_EQ((*engine)->statistics().weight_moves, 2u);
  EXPECT_EQ((*engine)->info().weight_places, places);
}

// Stalls tell that memory is shorter than it looks.
TEST(WatchedRam, WhereSomebodyStallsTheWholeMarginIsGivenBackAndNothingIsTaken) {
  Bench bench(false, Bench::kSliced);
  bench.free_ram = kMargin / 2;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  bench.ram_stalls = 0.05;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 0u);
  bench.ram_stalls = 0.5;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 1u);
  bench.free_ram = kPlenty;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 1u);
  bench.ram_stalls = 0;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 2u);
}

// Keys and values are planned, but not taken before they are written: they are no room for weights.
TEST(WatchedRam, WhatIsPlannedAndNotTakenYetIsNotFree) {
  Bench bench(false, Bench::kSliced);
  bench.free_ram = kPlenty;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  (void)answers(**engine, [&](int step) { bench.free_ram = step < 3 ? 1 : 2; });
  ASSERT_EQ((*engine)->statistics().weight_moves, 1u);
  const uint64_t used = bench.range().least;
  bench.free_ram = kMargin * 13 / 8;  // enough beside what is planned
  bench.own_ram = used / 2;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 1u);
  bench.own_ram = 0;
  (void)answers(**engine, [](int) {});
  EXPECT_EQ((*engine)->statistics().weight_moves, 2u);
}

}  // namespace
}  // namespace metallic

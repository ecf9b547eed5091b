// Weights that move while requests run: on a device made of host memory, and between RAM and disk.
#include "engine/live_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <set>

#include "support/engine_bench.h"
#include "support/plans.h"
#include "support/soak.h"

namespace metallic {
namespace {

using testing::answers;
using testing::answers_while_moving;
using testing::Bench;
using testing::request;

constexpr Bench::File kFile = Bench::kSliced;

std::vector<std::vector<TokenId>> undisturbed(bool gpu) {
  Bench bench(gpu, kFile);
  const auto engine = bench.load();
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  return answers(**engine, [](int) {});
}

class AnyMove : public ::testing::TestWithParam<bool> {};

// Less before each step down to nothing, then more again.
TEST_P(AnyMove, WhileRequestsRunChangesNoAnswer) {
  const auto expected = undisturbed(GetParam());
  Bench bench(GetParam(), kFile);
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  std::set<std::string> places;
  EXPECT_EQ(answers_while_moving(**engine, bench, 6, places), expected);
  EXPECT_GE(places.size(), 3u);
}
INSTANTIATE_TEST_SUITE_P(, AnyMove, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "OnADevice" : "BetweenRamAndDisk"; });

TEST(MovingWeights, ABudgetThatIsTooSmallIsRefusedAndChangesNothing) {
  Bench bench(true, kFile);
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  const std::string before = (*engine)->explain(true);
  const Status refused = (*engine)->set_memory({.gpu_bytes = 1000});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
  EXPECT_EQ((*engine)->explain(true), before);
  EXPECT_TRUE((*engine)->generate(request(0)));
}

TEST(MovingWeights, TheOldPlaceIsLeftBeforeTheNewOneIsTaken) {
  Bench bench(true, kFile);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  const uint64_t all = *bench.device->used;
  bench.device->capacity = all;  // not a byte more than before
  for (const int sixths : {3, 6, 0, 6, 1, 5}) {
    ASSERT_TRUE((*engine)->set_memory({.gpu_bytes = range.least + (range.most - range.least) * uint64_t(sixths) / 6}));
    EXPECT_LE(*bench.device->used, all);
  }
  ASSERT_TRUE((*engine)->set_memory({}));
  EXPECT_EQ(*bench.device->used, all);
}

// Whatever allocation fails while weights move: less is used, and the requests go on.
TEST(MovingWeights, AnAllocationThatFailsShrinksThePlanAndEndsNoRequest) {
  const auto expected = undisturbed(true);
  for (int64_t at = 0; at < 24; at += 4) {
    SCOPED_TRACE(at);
    Bench bench(true, kFile);
    const Bench::Range range = bench.range();
    const auto engine = bench.load();
    ASSERT_TRUE(engine);
    const auto got = answers(**engine, [&](int step) {
      if (step != 4) return;
      bench.device->fail_allocation = at;
      const Status moved = (*engine)->set_memory({.gpu_bytes = (range.least + range.most) / 2});
      ASSERT_TRUE(moved) << moved.error().message;
    });
    EXPECT_EQ(got, expected);
  }
}

// The device itself gives less than it seemed to have.
TEST(MovingWeights, ADeviceThatIsFullerThanPlannedGetsLess) {
  const auto expected = undisturbed(true);
  Bench bench(true, kFile);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  const auto got = answers(**engine, [&](int step) {
    if (step == 3) {
      ASSERT_TRUE((*engine)->set_memory({.gpu_bytes = range.least}));
    }
    if (step == 5) {
      bench.device->capacity = *bench.device->used + 40'000;
      ASSERT_TRUE((*engine)->set_memory({}));
    }
  });
  EXPECT_EQ(got, expected);
  EXPECT_LE(*bench.device->used, bench.device->capacity);
}

TEST(MovingWeights, AStepThatLacksMemoryIsMadeAgainWithLess) {
  const auto expected = undisturbed(true);
  Bench bench(true, kFile);
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  int shortages = 0;
  const auto got = answers(**engine, [&](int step) {
    if (step != 2 && step != 9) return;
    ++shortages;
    bench.device->failure = tl::unexpected<Error>(Error{ErrorCode::kOutOfMemory, "no room for working memory"});
  });
  EXPECT_EQ(shortages, 2);
  EXPECT_EQ(got, expected);
}

TEST(MovingWeights, WhatAnotherProcessTakesIsLeftToItAndTakenBackLater) {
  const auto expected = undisturbed(true);
  Bench bench(true, kFile);
  bench.machine.gpu_bytes = uint64_t{4} << 30;
  bench.free_gpu = uint64_t{4} << 30;
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  const std::string all = (*engine)->info().weight_places;
  std::string least;
  const auto got = answers(**engine, [&](int step) {
    if (step == 3) bench.free_gpu = 1;
    if (step == 6) {
      least = (*engine)->info().weight_places;
      EXPECT_NE(least, all);
      bench.free_gpu = uint64_t{4} << 30;
    }
  });
  EXPECT_EQ(got, expected);
  EXPECT_EQ((*engine)->info().weight_places, all);  // after it was there for a while
}

// A read that fails in the new place.
TEST(MovingWeights, AFailedReadAfterAMoveEndsAStepAndTheNextOneWorks) {
  const auto expected = undisturbed(false);
  Bench bench(false, kFile);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  ASSERT_TRUE((*engine)->set_memory({.ram_bytes = range.least}));
  bench.faults->fail_at = 7;
  const auto broken = (*engine)->generate(request(0));
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::kIo);
  bench.faults->fail_at = -1;
  EXPECT_EQ(answers(**engine, [](int) {}), expected);
}

// What moves is read from the file again: of one that was cut short meanwhile there is an error, and no answer.
TEST(MovingWeights, AFileThatIsCutShortMeanwhileIsAnErrorAndNoAnswer) {
  Bench bench(false);
  const std::string whole = bench.path;
  bench.path = (std::filesystem::temp_directory_path() / ("metallic-cut-" + std::to_string(::getpid()))).string();
  std::filesystem::copy_file(whole, bench.path, std::filesystem::copy_options::overwrite_existing);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  ASSERT_TRUE((*engine)->set_memory({.ram_bytes = range.least}));
  ASSERT_TRUE((*engine)->generate(request(0)));
  const uint64_t first = GgufFile::open(bench.path)->tensors()[0].offset;
  std::filesystem::resize_file(bench.path, first + 4096);
  const Status moved = (*engine)->set_memory({});
  const auto answer = (*engine)->generate(request(0));
  std::filesystem::remove(bench.path);
  ASSERT_FALSE(moved && answer);
  const Error& error = moved ? answer.error() : moved.error();
  EXPECT_EQ(error.code, ErrorCode::kIo) << error.message;
  EXPECT_NE(error.message.find("cut short"), std::string::npos) << error.message;
}

TEST(MovingWeights, ToAndFroLeavesNothingBehind) {
  Bench bench(true);  // a tiny model
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  testing::expect_flat_memory([&](int i) {
    ASSERT_TRUE((*engine)->set_memory({.gpu_bytes = range.most - (i % 2 == 0 ? range.weights / 2 : 0)}));
    ASSERT_TRUE((*engine)->generate(request(i % 3)));
  });
  EXPECT_GE((*engine)->statistics().weight_moves, 249u);
}

// Whenever a step waits for weights, its request may be cancelled: it ends at once, and the next one finds all as it
// was.
class AnyCancellation : public ::testing::TestWithParam<bool> {};

TEST_P(AnyCancellation, NothingIsHeldAndTheNextRequestWorks) {
  const auto expected = undisturbed(GetParam());
  Bench bench(GetParam(), kFile);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  ASSERT_TRUE((*engine)->set_memory(bench.within(range.least)));
  int asked_in_a_step = 0, cancelled_inside = 0;
  for (int at = 0; at < 90; at += 4) {
    SCOPED_TRACE(at);
    int asked = 0;
    Request one = request(1);
    one.should_stop = [&] { return asked++ >= at; };
    const RequestId id = (*engine)->submit(std::move(one)).value();
    while (!(*engine)->idle()) {
      const int before = asked;
      const Status status = (*engine)->step();
      ASSERT_TRUE(status) << status.error().message;
      asked_in_a_step = std::max(asked_in_a_step, asked - before);
      cancelled_inside += asked > at && asked - before > 1;
    }
    EXPECT_EQ(asked, at + 1);  // and never again
    EXPECT_EQ((*engine)->take(id)->reason, FinishReason::kCancelled);
    EXPECT_EQ((*engine)->statistics().kv_swap_bytes, 0u);
    if (at % 12 == 0) {
      EXPECT_EQ(answers(**engine, [](int) {}), expected);
    }
  }
  EXPECT_GT(asked_in_a_step, 5);
  EXPECT_GT(cancelled_inside, 10);
}
INSTANTIATE_TEST_SUITE_P(, AnyCancellation, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "ToADevice" : "FromDisk"; });

// The others' step goes on.
TEST(CancelledWhileWeightsCome, AStepThatSomebodyWaitsForGoesOn) {
  const auto expected = undisturbed(false);
  Bench bench(false, kFile);
  const Bench::Range range = bench.range();
  const auto engine = bench.load();
  ASSERT_TRUE(engine);
  ASSERT_TRUE((*engine)->set_memory({.ram_bytes = range.least}));
  int asked = 0;
  Request cancelled = request(0);
  cancelled.should_stop = [&] { return ++asked > 3; };
  const RequestId first = (*engine)->submit(std::move(cancelled)).value();
  const RequestId second = (*engine)->submit(request(1)).value();
  while (!(*engine)->idle()) ASSERT_TRUE((*engine)->step());
  EXPECT_EQ((*engine)->take(first)->reason, FinishReason::kCancelled);
  EXPECT_EQ((*engine)->take(second)->tokens, expected[1]);
}

// Those that turn out to be used most stay; what is answered does not change.
TEST(MovingExperts, FollowWhatTheRequestsUse) {
  const testing::ConvertedModel mixture("qwen2moe");
  ASSERT_EQ(mixture.problem(), "");
  const auto run = [&](uint64_t share_of_weights, uint64_t& moves, std::string& explained) {
    Bench bench(true);
    bench.path = mixture.path();
    bench.machine.handover_seconds = 1e-9;
    const Bench::Range range = bench.range();
    bench.options.memory.gpu_bytes = range.most - range.weights * (100 - share_of_weights) / 100;
    const auto engine = bench.load();
    EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
    std::vector<std::vector<TokenId>> all;
    for (int round = 0; round < 12; ++round) {  // of few tokens, which have few experts
      Request one;
      one.prompt.assign(12, 7);
      one.max_tokens = 40;
      one.sampling.temperature = 0;
      one.ignore_end = true;
      all.push_back((*engine)->generate(std::move(one)).value().tokens);
    }
    moves = (*engine)->statistics().weight_moves;
    explained = (*engine)->explain();
    return all;
  };
  uint64_t moves = 0, no_moves = 0;
  std::string explained, without;
  const auto expected = run(100, no_moves, without);
  const auto got = run(60, moves, explained);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(no_moves, 0u);
  EXPECT_GE(moves, 1u);
  EXPECT_NE(explained.find("choices were of experts that stay"), std::string::npos) << explained;
}

}  // namespace
}  // namespace metallic

// Sequences that wait for pages of the KV cache: their answers are those of a cache that is large enough.
#include "engine/kv_swap.h"

#include <gtest/gtest.h>

#include "engine/evaluator.h"
#include "engine/kv_pages.h"
#include "support/engine_bench.h"
#include "support/soak.h"

namespace metallic {
namespace {

using testing::answers;
using testing::Bench;

constexpr int kRequests = 4, kAnswer = 80;

// Bytes of keys and values of one page of the tiny model.
uint64_t page_bytes(const Bench& bench) {
  const GgufFile file = GgufFile::open(bench.path).value();
  const Config config = read_config(file).value();
  return uint64_t(kPageTokens) * uint64_t(config.layers) * uint64_t(config.key_width() + config.value_width()) *
         sizeof(float);
}

std::unique_ptr<Bench> bench_with(bool gpu, int pages, int swap_pages) {
  auto bench = std::make_unique<Bench>(gpu);
  bench->options.context = 128;  // four pages
  bench->options.max_sequences = kRequests;
  bench->options.memory.kv_bytes = uint64_t(pages) * page_bytes(*bench);
  bench->options.memory.kv_swap_bytes = uint64_t(swap_pages) * page_bytes(*bench);
  return bench;
}

void nothing(int) {}

std::vector<std::vector<TokenId>> undisturbed(bool gpu) {
  const auto bench = bench_with(gpu, 0, 0);
  const auto engine = bench->load();
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  const auto result = answers(**engine, nothing, kRequests, kAnswer);
  EXPECT_EQ((*engine)->statistics().kv_dropped + (*engine)->statistics().kv_swapped_out, 0u);
  return result;
}

class AnyShortageOfPages : public ::testing::TestWithParam<bool> {};

TEST_P(AnyShortageOfPages, SequencesAreSwappedToTheHostAndAnswerTheSame) {
  const auto expected = undisturbed(GetParam());
  for (int pages = 4; pages <= 9; ++pages) {
    SCOPED_TRACE(pages);
    const auto bench = bench_with(GetParam(), pages, 100);
    const auto engine = bench->load();
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ((*engine)->info().kv_bytes, uint64_t(pages) * page_bytes(*bench));
    EXPECT_EQ(answers(**engine, nothing, kRequests, kAnswer), expected);
    const EngineStatistics statistics = (*engine)->statistics();
    EXPECT_GT(statistics.kv_swapped_out, 0u);
    EXPECT_EQ(statistics.kv_swapped_in, statistics.kv_swapped_out);
    EXPECT_EQ(statistics.kv_dropped, 0u);
    EXPECT_EQ(statistics.kv_swap_bytes, 0u);
  }
}

TEST_P(AnyShortageOfPages, WhereTheHostHasNoRoomTheyAreComputedAgain) {
  const auto expected = undisturbed(GetParam());
  for (const int swap_pages : {0, 1, 2}) {
    SCOPED_TRACE(swap_pages);
    const auto bench = bench_with(GetParam(), 5, swap_pages);
    const auto engine = bench->load();
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_EQ(answers(**engine, nothing, kRequests, kAnswer), expected);
    EXPECT_GT((*engine)->statistics().kv_dropped, 0u);
    EXPECT_EQ((*engine)->statistics().kv_swap_bytes, 0u);
  }
}

// A page takes a quarter of one in F32.
TEST_P(AnyShortageOfPages, ACacheInF8_E4M3IsSwappedLikeOneInF32) {
  const auto run = [](bool gpu, int pages, EngineStatistics& statistics) {
    const auto bench = bench_with(gpu, pages, 100);
    bench->options.kv_formats = Format::kF8_E4M3;
    bench->options.memory.kv_bytes /= 4;
    const auto engine = bench->load();
    EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
    if (pages > 0) {
      EXPECT_EQ((*engine)->info().kv_bytes, uint64_t(pages) * page_bytes(*bench) / 4);
    }
    const auto result = answers(**engine, nothing, kRequests, kAnswer);
    statistics = (*engine)->statistics();
    return result;
  };
  EngineStatistics all, waited;
  const auto expected = run(GetParam(), 0, all);
  EXPECT_EQ(all.kv_swapped_out, 0u);
  EXPECT_EQ(run(GetParam(), 5, waited), expected);
  EXPECT_GT(waited.kv_swapped_out, 0u);
  EXPECT_EQ(waited.kv_swapped_in, waited.kv_swapped_out);
  EXPECT_EQ(waited.kv_swap_bytes, 0u);
}
INSTANTIATE_TEST_SUITE_P(, AnyShortageOfPages, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "OnADevice" : "OnTheCpu"; });

TEST(ShortOfPages, WithoutMemoryOfTheHostASequenceIsComputedAgain) {
  const auto expected = undisturbed(true);
  const auto bench = bench_with(true, 5, 100);
  const auto engine = bench->load();
  ASSERT_TRUE(engine);
  const auto before_the_first_wait = [&](int) {
    const EngineStatistics statistics = (*engine)->statistics();
    bench->device->fail_allocation = statistics.kv_swapped_out + statistics.kv_dropped == 0 ? 0 : -1;
  };
  EXPECT_EQ(answers(**engine, before_the_first_wait, kRequests, kAnswer), expected);
  EXPECT_GT((*engine)->statistics().kv_dropped, 0u);
  EXPECT_EQ((*engine)->statistics().kv_swap_bytes, 0u);
}

// A copy of a swap that fails costs time, one of a step's results the step; nothing else.
TEST(ShortOfPages, ACopyThatFailsLeavesNothingBehind) {
  const auto expected = undisturbed(true);
  int ended = 0, recomputed = 0;
  for (int64_t at = 0; at < 280; at += 9) {
    SCOPED_TRACE(at);
    const auto bench = bench_with(true, 5, 100);
    const auto engine = bench->load();
    ASSERT_TRUE(engine);
    bench->device->fail_copy = at;
    std::vector<RequestId> ids;
    for (int i = 0; i < kRequests; ++i) {
      Request one = testing::request(i);
      one.max_tokens = kAnswer;
      ids.push_back((*engine)->submit(std::move(one)).value());
    }
    Status status;
    while (status && !(*engine)->idle()) status = (*engine)->step();
    if (!status) {
      ++ended;
      EXPECT_EQ(status.error().code, ErrorCode::kDevice);
    } else {
      recomputed += (*engine)->statistics().kv_dropped > 0;
      for (int i = 0; i < kRequests; ++i) EXPECT_EQ((*engine)->take(ids[size_t(i)])->tokens, expected[size_t(i)]);
    }
    EXPECT_EQ((*engine)->statistics().kv_swap_bytes, 0u);
    EXPECT_EQ(answers(**engine, nothing, kRequests, kAnswer), expected);
  }
  EXPECT_GT(ended, 0);
  EXPECT_GT(recomputed, 0);
}

TEST(ShortOfPages, ASequenceThatIsCancelledWhileItWaitsLeavesNothing) {
  const auto expected = undisturbed(false);
  const auto bench = bench_with(false, 5, 100);
  const auto engine = bench->load();
  ASSERT_TRUE(engine);
  bool stop = false;
  std::vector<RequestId> ids;
  for (int i = 0; i < kRequests; ++i) {
    Request one = testing::request(i);
    one.max_tokens = kAnswer;
    if (i > 0) one.should_stop = [&stop] { return stop; };
    ids.push_back((*engine)->submit(std::move(one)).value());
  }
  while (!(*engine)->idle()) {
    stop = stop || (*engine)->statistics().kv_swap_bytes > 0;
    ASSERT_TRUE((*engine)->step());
    if (stop) {
      EXPECT_EQ((*engine)->statistics().kv_swap_bytes, 0u);
    }
  }
  EXPECT_TRUE(stop);
  EXPECT_EQ((*engine)->take(ids[0])->tokens, expected[0]);
  for (int i = 1; i < kRequests; ++i) EXPECT_EQ((*engine)->take(ids[size_t(i)])->reason, FinishReason::kCancelled);
  EXPECT_EQ(answers(**engine, nothing, kRequests, kAnswer), expected);
}

TEST(ShortOfPages, ManyRequestsLeaveNothingBehind) {
  const auto bench = bench_with(false, 5, 6);
  const auto engine = bench->load();
  ASSERT_TRUE(engine);
  std::vector<std::vector<TokenId>> first;
  testing::expect_flat_memory([&](int i) {
    const auto got = answers(**engine, nothing, kRequests, kAnswer);
    if (i == 0) first = got;
    ASSERT_EQ(got, first);
  });
  EXPECT_GT((*engine)->statistics().kv_swapped_in, 100u);
}

TEST(ShortOfPages, ALeaseGrowsByWholePagesOrNotAtAll) {
  KvPages pages(4, 8);
  const std::vector<TokenId> prompt(5, 1);
  auto a = pages.take(prompt, 6);
  auto b = pages.take(prompt, 6);
  ASSERT_TRUE(a && b);
  EXPECT_TRUE(pages.grow(*a, 8));
  EXPECT_EQ(a->pages.size(), 1u);
  EXPECT_TRUE(pages.grow(*a, 9));
  EXPECT_EQ(a->pages.size(), 2u);
  EXPECT_FALSE(pages.grow(*b, 25));
  EXPECT_EQ(b->pages.size(), 1u);
  EXPECT_EQ(pages.free_pages(), 1);
  EXPECT_FALSE(pages.take(prompt, 6, 1));  // one is to be left
  EXPECT_TRUE(pages.take(prompt, 6));
}

// Also by a backend that no plan is made for.
TEST(KvMemory, ATypeThatDoesNotDivideAHeadIsRefused) {
  EngineOptions options;
  options.backend = "cpu-f32";
  options.threads = 1;
  options.memory.kv_bytes = uint64_t{1} << 20;
  options.kv_formats = Format::kQ8_0;
  const auto engine = Engine::load(testing::model_path("llama-tied.gguf"), options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(engine.error().message.find("no multiple of 32"), std::string::npos) << engine.error().message;
}

}  // namespace
}  // namespace metallic

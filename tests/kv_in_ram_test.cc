// --kv-offload off: a device multiplies, keys and values are in RAM, and the host does attention over them.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "support/engine_bench.h"

namespace metallic {
namespace {

using testing::answers;
using testing::answers_while_moving;
using testing::Bench;
using testing::request;

void nothing(int) {}

Bench bench_without(KvOffload kv) {
  Bench bench(true, Bench::kSliced);
  bench.options.memory.kv_offload = kv;
  return bench;
}

std::vector<std::vector<TokenId>> undisturbed() {
  Bench bench = bench_without(KvOffload::kAuto);
  const auto engine = bench.load();
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  const auto result = answers(**engine, nothing);
  EXPECT_GT(bench.device->attentions, 0);
  return result;
}

TEST(KvInRam, AnswersTheSameAndTakesNoMemoryOfTheDevice) {
  const auto expected = undisturbed();
  Bench with = bench_without(KvOffload::kAuto), without = bench_without(KvOffload::kOff);
  const auto there = with.load(), here = without.load();
  ASSERT_TRUE(there && here) << (here ? "" : here.error().message);
  EXPECT_EQ(answers(**here, nothing), expected);
  EXPECT_EQ(without.device->attentions, 0);
  EXPECT_EQ((*here)->info().kv_bytes, (*there)->info().kv_bytes);
  EXPECT_EQ(*with.device->used - *without.device->used, (*here)->info().kv_bytes);
  EXPECT_NE((*here)->explain().find("KV cache   of 0 of 8 layers on the GPU"), std::string::npos) << (*here)->explain();
  EXPECT_NE((*here)->info().weight_places.find("on the GPU"), std::string::npos);
}

TEST(KvInRam, WeightsMoveAndKeysAndValuesStay) {
  const auto expected = undisturbed();
  Bench bench = bench_without(KvOffload::kOff);
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  std::set<std::string> places;
  EXPECT_EQ(answers_while_moving(**engine, bench, 4, places), expected);
  EXPECT_GE(places.size(), 3u);
  EXPECT_EQ(bench.device->attentions, 0);
}

TEST(KvInRam, SequencesThatWaitAreKeptBesideIt) {
  const auto run = [](KvOffload kv, uint64_t kv_bytes, EngineStatistics& statistics) {
    Bench bench = bench_without(kv);
    bench.options.context = 128;  // four pages
    bench.options.max_sequences = 4;
    bench.options.memory.kv_bytes = kv_bytes;
    bench.options.memory.kv_swap_bytes = testing::kPlenty;
    const auto engine = bench.load();
    EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
    const auto result = answers(**engine, nothing, 4, 80);
    statistics = (*engine)->statistics();
    return result;
  };
  EngineStatistics all, waited;
  const auto expected = run(KvOffload::kAuto, 0, all);
  EXPECT_EQ(run(KvOffload::kOff, 5 * (uint64_t{1} << 17), waited), expected);  // five pages
  EXPECT_EQ(all.kv_swapped_out, 0u);
  EXPECT_GT(waited.kv_swapped_out, 0u);
  EXPECT_EQ(waited.kv_swapped_in, waited.kv_swapped_out);
  EXPECT_EQ(waited.kv_swap_bytes, 0u);
}

// Of every format that the host knows, also where a device does not.
TEST(KvInRam, AFormatThatTheDeviceHasNotIsPossible) {
  Bench bench = bench_without(KvOffload::kOff);
  bench.options.kv_formats = Format::kQ4_0;
  const auto engine = bench.load();
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_TRUE((*engine)->generate(request(0)));
}

// Whichever copy or allocation fails: that step ends with an error, and the next request works.
TEST(KvInRam, AFailureEndsAStepAndTheNextOneWorks) {
  const auto expected = undisturbed();
  int copies = 0, allocations = 0;
  for (int at = 0; at < 60; at += 3) {
    SCOPED_TRACE(at);
    Bench bench = bench_without(KvOffload::kOff);
    const auto engine = bench.load();
    ASSERT_TRUE(engine) << engine.error().message;
    (at % 2 == 0 ? bench.device->fail_copy : bench.device->fail_allocation) = at % 2 == 0 ? at : at / 6;
    const auto broken = (*engine)->generate(request(1));
    if (!broken && at % 2 == 0) {
      ++copies;
      EXPECT_EQ(broken.error().code, ErrorCode::kDevice);
    }
    allocations += bench.device->fail_allocation == -1 && at % 2 != 0;
    bench.device->fail_copy = bench.device->fail_allocation = -1;
    EXPECT_EQ(answers(**engine, nothing), expected);
  }
  EXPECT_GT(copies, 5);
  EXPECT_GT(allocations, 1);
}

}  // namespace
}  // namespace metallic

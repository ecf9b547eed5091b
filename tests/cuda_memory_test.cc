// Weights that move and keys and values that wait, on a GPU.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "backend/test_support.h"
#include "model/random_model.h"
#include "support/engine_bench.h"

namespace metallic {
namespace {

using testing::answers;

// Budgets that change while requests run: nothing fails, and when all is on the GPU again, so are the answers.
TEST(MovingWeightsOnCuda, RequestsGoOnAndTheOldPlaceGivesTheOldAnswers) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  const MemoryFile file = MemoryFile::of_random_model(RandomModelSpec::parse("qwen2.5-0.5b:q4_k_m").value(), 1).value();
  EngineOptions options;
  options.backend = "cuda-reproducible";
  options.context = 128;
  options.max_sequences = 3;
  const auto engine = Engine::load(file.path(), options);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto expected = answers(**engine, [](int) {});
  const std::string all = (*engine)->info().weight_places;
  std::set<std::string> places;
  const auto moved = answers(**engine, [&](int step) {
    if (step % 3 != 0) return;
    MemoryOptions memory;
    memory.gpu_bytes = (uint64_t{900} << 20) - uint64_t(step / 3 % 4) * (uint64_t{120} << 20);
    const Status status = (*engine)->set_memory(memory);
    ASSERT_TRUE(status) << status.error().message;
    places.insert((*engine)->info().weight_places);
  });
  EXPECT_EQ(moved.size(), expected.size());
  EXPECT_GE(places.size(), 2u);
  ASSERT_TRUE((*engine)->set_memory({}));
  EXPECT_EQ((*engine)->info().weight_places, all);
  EXPECT_EQ(answers(**engine, [](int) {}), expected);
}

TEST(ShortOfPagesOnCuda, SequencesAreSwappedToTheHostAndAnswerTheSame) {
  METALLIC_SKIP_IF_ABSENT("cuda");
  const auto run = [](uint64_t pages, EngineStatistics& statistics) {
    EngineOptions options;
    options.backend = "cuda-reproducible";
    options.context = 128;
    options.max_sequences = 4;
    const std::string path = testing::model_path("qwen2.gguf");
    const GgufFile file = GgufFile::open(path).value();
    const Config config = read_config(file).value();
    options.memory.kv_bytes =
        pages * 32 * uint64_t(config.layers) * uint64_t(config.key_width() + config.value_width()) * 2;
    options.memory.kv_swap_bytes = uint64_t{16} << 20;
    const auto engine = Engine::load(path, options);
    EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
    auto result = answers(
        **engine, [](int) {}, 4, 80);
    statistics = (*engine)->statistics();
    return result;
  };
  EngineStatistics none, some;
  const auto expected = run(0, none);
  EXPECT_EQ(run(5, some), expected);
  EXPECT_EQ(none.kv_swapped_out, 0u);
  EXPECT_GT(some.kv_swapped_out, 0u);
  EXPECT_EQ(some.kv_swapped_in, some.kv_swapped_out);
  EXPECT_EQ(some.kv_swap_bytes, 0u);
}

}  // namespace
}  // namespace metallic

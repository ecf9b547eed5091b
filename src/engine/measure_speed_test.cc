// Names and sums of measure_speed.h, and that each kind of test runs.
#include <gtest/gtest.h>

#include "engine/measure_speed.h"

namespace metallic {
namespace {

using Kind = SpeedTest::Kind;

std::shared_ptr<const Model> tiny_model(const char* name) {
  auto backend = open_backend("cpu", 2).value();
  return Model::load(std::string(METALLIC_SOURCE_DIR "/tests/data/models/") + name, std::move(backend)).value();
}

TEST(SpeedTest, IsCalledByWhatItMeasures) {
  EXPECT_EQ((SpeedTest{Kind::kPrompt, 512, 1, 0}.name()), "pp512");
  EXPECT_EQ((SpeedTest{Kind::kDecode, 128, 1, 0}.name()), "tg128");
  EXPECT_EQ((SpeedTest{Kind::kDecode, 48, 16, 0}.name()), "tg48x16");
  EXPECT_EQ((SpeedTest{Kind::kDecode, 48, 4, 4096}.name()), "tg48x4@d4096");
}

SpeedResult example(Kind kind) {
  SpeedResult result;
  result.test = {kind, 10, kind == Kind::kDecode ? 4 : 1, 0};
  result.tokens_per_second = {30, 10, 20};
  result.step_bytes = 8;
  result.operations = 100;
  result.limits = {80, 800};
  return result;
}

TEST(SpeedResult, JudgesDecodingByTheBytesOfItsSteps) {
  const SpeedResult result = example(Kind::kDecode);
  EXPECT_EQ(result.mean(), 20);
  EXPECT_EQ(result.median(), 20);
  EXPECT_EQ(result.deviation(), 10);
  EXPECT_EQ(result.bytes_per_second(), 40);  // 5 steps of 4 tokens
  EXPECT_EQ(result.share(), 0.5);
}

TEST(SpeedResult, JudgesPromptsByTheirOperations) {
  const SpeedResult result = example(Kind::kPrompt);
  EXPECT_EQ(result.operations_per_second(), 200);  // 2 prompts
  EXPECT_EQ(result.share(), 0.25);
  SpeedResult unknown = result;
  unknown.limits = {};
  EXPECT_EQ(unknown.share(), 0);
}

TEST(WeightCost, CountsEachMatrixOnceAndNoRowsOfTheEmbedding) {
  const auto model = tiny_model("llama-bias.gguf");
  ASSERT_NE(model->file().find_tensor("output.weight"), nullptr);
  double bytes = 0;
  for (const TensorInfo& tensor : model->file().tensors())
    if (tensor.rank == 2 && tensor.name != "token_embd.weight") bytes += double(tensor.bytes);
  const WeightCost cost = WeightCost::of(model->file(), model->config());
  EXPECT_EQ(cost.step_bytes(1), bytes);
  EXPECT_EQ(cost.step_bytes(16), bytes);
  // Two tokens more cost two times the layers; the head is needed once.
  EXPECT_EQ(cost.prompt_operations(3) - cost.prompt_operations(2),
            cost.prompt_operations(2) - cost.prompt_operations(1));
}

TEST(SpeedTester, RunsEveryKindOfTest) {
  const SpeedTest tests[] = {{Kind::kPrompt, 40, 1, 35}, {Kind::kDecode, 5, 1, 35}, {Kind::kDecode, 5, 3, 35}};
  const auto tester = SpeedTester::create(tiny_model("qwen3.gguf"), tests, {.step_rows = 16, .repetitions = 2}).value();
  for (const SpeedTest& test : tests) {
    const auto result = tester->run(test);
    ASSERT_TRUE(result) << result.error().message;
    ASSERT_EQ(result->tokens_per_second.size(), 2u);
    EXPECT_GT(result->median(), 0);
    EXPECT_GT(result->share(), 0);
  }
}

TEST(SpeedTester, FirstTokenOfAModelIsComputed) {
  EXPECT_TRUE(first_token(*tiny_model("llama-tied.gguf"), Format::kF16));
}

}  // namespace
}  // namespace metallic

#include "model/shapes.h"

#include <gtest/gtest.h>

#include <set>

#include "model/config.h"
#include "model/random_model.h"

namespace metallic {
namespace {

TEST(Shapes, AreConsistent) {
  std::set<std::string_view> names;
  for (const ModelShape& shape : model_shapes()) {
    SCOPED_TRACE(shape.name);
    EXPECT_TRUE(names.insert(shape.name).second);
    EXPECT_TRUE(find_arch_spec(shape.architecture));
    EXPECT_EQ(shape.heads % shape.kv_heads, 0);
    EXPECT_EQ(shape.head_dim % 32, 0);
    EXPECT_EQ(shape.width % 32, 0);
    EXPECT_EQ(shape.ff_width % 32, 0);
    EXPECT_LE(shape.experts_used, shape.experts);
    EXPECT_EQ(shape.experts > 0, shape.expert_width > 0);
  }
}

// The number of weights of the published models, in billions, as their makers give it.
TEST(Shapes, HaveTheNumberOfWeightsOfTheirModels) {
  constexpr std::pair<const char*, double> kBillions[] = {
      {"smollm2-135m", 0.1345}, {"llama3.2-1b", 1.236}, {"llama3.2-3b", 3.213},   {"llama3.1-8b", 8.030},
      {"llama3.1-70b", 70.55},  {"mistral-7b", 7.248},  {"mixtral-8x7b", 46.70},  {"qwen2.5-0.5b", 0.494},
      {"qwen2.5-7b", 7.616},    {"qwen2.5-72b", 72.71}, {"qwen3-0.6b", 0.596},    {"qwen3-4b", 4.022},
      {"qwen3-8b", 8.191},      {"qwen3-32b", 32.76},   {"qwen3-30b-a3b", 30.53}, {"llama3.1-405b", 405.9},
      {"deepseek-v3", 671.0},
  };
  for (const auto& [name, billions] : kBillions) {
    SCOPED_TRACE(name);
    uint64_t bytes = 0;
    const auto writer = random_model_layout({find_model_shape(name).value(), find_quantize_type("f32").value()}, bytes);
    ASSERT_TRUE(writer);
    EXPECT_NEAR(double(bytes) / 4e9, billions, billions * 0.001);
  }
}

TEST(Shapes, AreFoundInUpperAndLowerCaseAndListedOtherwise) {
  EXPECT_EQ(find_model_shape("Llama3.1-8B").value().name, "llama3.1-8b");
  const auto unknown = find_model_shape("llama9-1b");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("llama9-1b"), std::string::npos);
  for (const ModelShape& shape : model_shapes())
    EXPECT_NE(unknown.error().message.find(shape.name), std::string::npos) << shape.name;
}

TEST(RandomModelSpec, IsAShapeAndAType) {
  EXPECT_EQ(RandomModelSpec::parse("llama3.1-8b:Q4_K").value().name(), "llama3.1-8b:q4_k_m");
  for (const char* bad : {"", ":", "llama3.1-8b", "llama3.1-8b:", ":q4_0", "llama3.1-8b:q4_0:q4_0", "nothing:q4_0"})
    EXPECT_FALSE(RandomModelSpec::parse(bad)) << bad;
}

TEST(RandomModel, IsAFileThatReadsAsItsShape) {
  for (const char* name : {"smollm2-135m:q4_k_m", "smollm2-135m:iq2_xs"}) {
    SCOPED_TRACE(name);
    const RandomModelSpec spec = RandomModelSpec::parse(name).value();
    const auto memory = MemoryFile::of_random_model(spec, 0);
    ASSERT_TRUE(memory) << memory.error().message;
    const auto file = GgufFile::open(memory->path());
    ASSERT_TRUE(file) << file.error().message;
    const auto config = read_config(*file);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->layers, spec.shape.layers);
    EXPECT_EQ(config->head_dim, spec.shape.head_dim);
    EXPECT_EQ(file->find_tensor("token_embd.weight")->size[1], uint64_t(spec.shape.vocab));
    EXPECT_EQ(file->find_tensor("output.weight"), nullptr);
  }
}

TEST(RandomModel, ThatDoesNotFitIsRefused) {
  const auto memory = MemoryFile::of_random_model(RandomModelSpec::parse("qwen2.5-72b:f32").value(), 1000);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::kOutOfMemory);
  EXPECT_NE(memory.error().message.find("GB"), std::string::npos);
}

}  // namespace
}  // namespace metallic

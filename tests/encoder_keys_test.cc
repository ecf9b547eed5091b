// Keys of encoders that change what a model computes, or must be refused.
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "base/error.h"
#include "convert/convert.h"
#include "convert/test_folder.h"
#include "support/evaluate.h"
#include "support/golden.h"

namespace metallic {
namespace {

class EncoderKeys : public ::testing::Test {
 protected:
  std::string converted(const std::string& name) const {
    const std::string out = (folder_.path() / (name + ".gguf")).string();
    const std::string folder = std::string(METALLIC_SOURCE_DIR) + "/tests/data/architectures/" + name;
    const auto summary = convert::convert_folder(folder, out);
    EXPECT_TRUE(summary) << (summary ? "" : summary.error().message);
    return out;
  }
  // All hidden states of a few tokens, or why there are none.
  static Result<std::vector<float>> hidden_states(const std::string& path) {
    METALLIC_ASSIGN(const auto backend, open_backend("cpu", 2));
    METALLIC_ASSIGN(const auto model, Model::load(path, backend));
    const std::vector<TokenId> tokens{2, 17, 40, 9, 33, 21, 3};
    METALLIC_ASSIGN(const auto evaluator, Evaluator::create(model, 8, 8, Format::kF32));
    return testing::outputs(*evaluator, tokens, tokens.size());
  }
  static std::string error_of(const std::string& path) {
    const auto result = hidden_states(path);
    return result ? "" : result.error().message;
  }
  TestFolder folder_;
};

TEST_F(EncoderKeys, TheLargestBiasIsEightUnlessTheFileNamesAnother) {
  const std::string path = converted("jina-bert");
  const auto with_bias = [&](float bias) {
    return testing::ChangedFile(
        path, [bias](GgufWriter& writer, auto&) { writer.set_float("jina-bert-v2.attention.max_alibi_bias", bias); });
  };
  const auto usual = hidden_states(path), eight = hidden_states(with_bias(8).path()),
             four = hidden_states(with_bias(4).path());
  ASSERT_TRUE(usual && eight && four);
  EXPECT_EQ(*usual, *eight);
  EXPECT_GT(testing::relative_l2(*four, *usual), 1e-2);
  EXPECT_NE(error_of(with_bias(-8).path()).find("max_alibi_bias is -8"), std::string::npos);
  EXPECT_NE(error_of(with_bias(NAN).path()).find("max_alibi_bias"), std::string::npos);
  EXPECT_NE(error_of(with_bias(0).path()).find("position_embd.weight"), std::string::npos) << "no positions at all";
}

TEST_F(EncoderKeys, AnyArchitectureTakesABias) {
  const std::string path = converted("bert");
  const testing::ChangedFile biased(
      path, [](GgufWriter& writer, auto&) { writer.set_float("bert.attention.max_alibi_bias", 8); });
  const auto without = hidden_states(path), with = hidden_states(biased.path());
  ASSERT_TRUE(without && with);
  EXPECT_GT(testing::relative_l2(*with, *without), 1e-2);
}

TEST_F(EncoderKeys, ExpertsInOtherBlocksThanTheFileSaysAreAnError) {
  const std::string path = converted("nomic-bert-moe");
  EXPECT_EQ(error_of(path), "");
  for (const uint32_t every : {1, 3, 4}) {
    const testing::ChangedFile changed(
        path, [every](GgufWriter& writer, auto&) { writer.set_unsigned("nomic-bert-moe.moe_every_n_layers", every); });
    EXPECT_NE(error_of(changed.path()).find("moe_every_n_layers, which is"), std::string::npos) << every;
  }
}

TEST_F(EncoderKeys, TheBiasOfAMixturesOutputIsAKeyWithARowForEachBlock) {
  const std::string path = converted("nomic-bert-moe");
  const std::string key = "nomic-bert-moe.expert_output_bias";
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file);
  std::vector<double> bias = (*file->get_array(key))->numbers().value();
  ASSERT_EQ(bias.size(), 4u * 32);
  for (size_t i = 0; i < bias.size(); ++i)
    EXPECT_EQ(bias[i] == 0, i / 32 % 2 == 0) << "only blocks 1 and 3 have experts";
  const auto with = [&](const std::vector<float>& values) {
    return testing::ChangedFile(path, [&](GgufWriter& writer, auto&) { writer.set_floats(key, values); });
  };
  const auto usual = hidden_states(path), none = hidden_states(with(std::vector<float>(128)).path());
  ASSERT_TRUE(usual && none);
  EXPECT_GT(testing::relative_l2(*none, *usual), 1e-3);
  EXPECT_NE(error_of(with(std::vector<float>(127)).path()).find("32 numbers for each of 4 blocks"), std::string::npos);
  EXPECT_NE(error_of(with(std::vector<float>(128, NAN)).path()).find("no number"), std::string::npos);
  const testing::ChangedFile text(path, [&](GgufWriter& writer, auto&) { writer.set_string(key, "0"); });
  EXPECT_NE(error_of(text.path()).find(key), std::string::npos);
}

}  // namespace
}  // namespace metallic

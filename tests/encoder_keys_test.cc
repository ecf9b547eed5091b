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

}  // namespace
}  // namespace metallic

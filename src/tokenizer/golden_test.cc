// Small vocabularies against the ids that Hugging Face tokenizers and sentencepiece give:
// tools/make-tokenizer-golden.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "metallic/tokenizer.h"

namespace metallic {
namespace {

Vocab vocab_of(const nlohmann::json& golden) {
  Vocab vocab;
  const bool spm = golden["kind"] == "spm";
  vocab.kind = spm ? TokenizerKind::kSentencePiece : TokenizerKind::kBytePairEncoding;
  vocab.tokens = golden["tokens"].get<std::vector<std::string>>();
  for (const int type : golden["types"]) vocab.types.push_back(TokenType(type));
  vocab.add_space_prefix = spm;
  if (spm) {
    vocab.scores = golden["scores"].get<std::vector<float>>();
    vocab.unknown = 0;
  } else {
    vocab.pre_tokenizer = golden["pre_tokenizer"];
    vocab.merges = golden["merges"].get<std::vector<std::string>>();
    vocab.ignore_merges = golden["ignore_merges"];
  }
  return vocab;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, GivesTheIdsOfTheOutsideTokenizer) {
  std::ifstream stream(std::filesystem::path(METALLIC_SOURCE_DIR) / "tests/data/tokenizer" /
                       (std::string(GetParam()) + ".json"));
  ASSERT_TRUE(stream.is_open());
  const nlohmann::json golden = nlohmann::json::parse(stream);
  const auto tokenizer = Tokenizer::create(vocab_of(golden));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  ASSERT_GT(golden["cases"].size(), 60u);
  const bool spm = golden["kind"] == "spm";
  for (const nlohmann::json& one : golden["cases"]) {
    const std::string text = one["text"];
    const std::vector<TokenId> ids = one["ids"];
    const std::vector<TokenId> plain_ids =
        one.contains("plain_ids") ? one["plain_ids"].get<std::vector<TokenId>>() : ids;
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}).value(), ids) << testing::PrintToString(text);
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = false}).value(), plain_ids) << testing::PrintToString(text);
    const std::string decoded = spm && !text.empty() ? " " + text : text;
    EXPECT_EQ(tokenizer->decode(ids, true).value(), decoded);
    EXPECT_EQ(tokenizer->decode(plain_ids).value(), decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(Small, Golden,
                         testing::Values("gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "deepseek-coder",
                                         "spm"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace metallic

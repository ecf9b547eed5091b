// Small vocabularies against the ids that Hugging Face tokenizers and sentencepiece give:
// tools/make-tokenizer-golden.py.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/utf8.h"
#include "metallic/tokenizer.h"
#include "tokenizer/bert_text.h"
#include "tokenizer/pretokenize.h"

namespace metallic {
namespace {

nlohmann::json read_golden(const std::string& name) {
  std::ifstream stream(std::filesystem::path(METALLIC_SOURCE_DIR) / "tests/data/tokenizer" / (name + ".json"));
  EXPECT_TRUE(stream.is_open()) << name;
  return nlohmann::json::parse(stream);
}

Vocab vocab_of(const nlohmann::json& golden) {
  const std::map<std::string, TokenizerKind> kinds = {{"bpe", TokenizerKind::kBytePairEncoding},
                                                      {"spm", TokenizerKind::kSentencePiece},
                                                      {"word_piece", TokenizerKind::kWordPiece},
                                                      {"unigram", TokenizerKind::kUnigram},
                                                      {"longest_match", TokenizerKind::kLongestMatch}};
  Vocab vocab;
  vocab.kind = kinds.at(golden["kind"]);
  vocab.tokens = golden["tokens"].get<std::vector<std::string>>();
  for (const int type : golden["types"]) vocab.types.push_back(TokenType(type));
  vocab.unknown = golden.value("unknown", vocab.kind == TokenizerKind::kSentencePiece ? 0 : kNoToken);
  vocab.scores = golden.value("scores", std::vector<float>());
  vocab.merges = golden.value("merges", std::vector<std::string>());
  vocab.pre_tokenizer = golden.value("pre_tokenizer", "");
  vocab.ignore_merges = golden.value("ignore_merges", false);
  vocab.lowercase = golden.value("lowercase", true);
  vocab.strip_accents = golden.value("strip_accents", true);
  vocab.remove_extra_spaces = golden.value("remove_extra_spaces", true);
  vocab.space_as_suffix = golden.value("space_as_suffix", false);
  vocab.character_map = decode_base64(golden.value("character_map", "")).value();
  return vocab;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, GivesTheIdsOfTheOutsideTokenizer) {
  const nlohmann::json golden = read_golden(GetParam());
  const auto tokenizer = Tokenizer::create(vocab_of(golden));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  ASSERT_GT(golden["cases"].size(), 60u);
  const bool spm = golden["kind"] == "spm";
  const bool changes_text = golden["kind"] == "word_piece" || golden["kind"] == "unigram";
  for (const nlohmann::json& one : golden["cases"]) {
    const std::string text = one["text"];
    const std::vector<TokenId> ids = one["ids"];
    const std::vector<TokenId> plain_ids =
        one.contains("plain_ids") ? one["plain_ids"].get<std::vector<TokenId>>() : ids;
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}).value(), ids) << testing::PrintToString(text);
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = false}).value(), plain_ids) << testing::PrintToString(text);
    if (changes_text) continue;
    const std::string decoded = spm && !text.empty() ? " " + text : text;
    EXPECT_EQ(tokenizer->decode(ids, true).value(), decoded);
    EXPECT_EQ(tokenizer->decode(plain_ids).value(), decoded);
  }
}

INSTANTIATE_TEST_SUITE_P(Small, Golden,
                         testing::Values("gpt-2", "llama-bpe", "qwen2", "smollm", "deepseek-llm", "deepseek-coder",
                                         "spm", "bert-uncased", "bert-cased", "unigram", "unigram-bytes",
                                         "unigram-suffix", "rwkv"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(BertText, CutsEveryCodePointLikeHuggingFace) {
  for (const nlohmann::json& one : read_golden("bert-text")) {
    const BertTextOptions options = {one["lowercase"], one["strip_accents"]};
    for (uint32_t block = 0; block < 0x110000; block += 4096) {
      uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
      for (uint32_t c = block; c < block + 4096; ++c) {
        if (c >= 0xd800 && c < 0xe000) continue;
        std::string text = "a", words;
        append_utf8(text, c);
        Scratch<uint32_t> ends;
        append_bert_words(text + "B", options, words, ends);
        ASSERT_EQ(ends.span().back(), words.size());
        for (const char byte : words) hash = (hash ^ uint8_t(byte)) * 0x100000001b3;
      }
      ASSERT_EQ(fmt::format("{:x}", hash), one["hashes"][block / 4096].get<std::string>()) << "from " << block;
    }
  }
}

TEST(PreTokenizers, CutLikeHuggingFace) {
  const nlohmann::json golden = read_golden("pieces");
  ASSERT_GT(golden["pieces"].size(), 20u);
  for (const auto& [name, pieces] : golden["pieces"].items()) {
    const PreTokenizer split = find_pre_tokenizer(name);
    ASSERT_NE(split, nullptr) << name;
    for (size_t i = 0; i < golden["texts"].size(); ++i) {
      const std::string text = golden["texts"][i];
      std::vector<uint32_t> ends(text.size()), sizes;
      ends.resize(split(text, ends.data()));
      for (size_t piece = 0; piece < ends.size(); ++piece)
        sizes.push_back(ends[piece] - (piece == 0 ? 0 : ends[piece - 1]));
      EXPECT_EQ(sizes, pieces[i].get<std::vector<uint32_t>>()) << name << ": " << testing::PrintToString(text);
    }
  }
}

}  // namespace
}  // namespace metallic

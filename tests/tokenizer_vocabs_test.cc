// Real vocabularies against what llama.cpp gives for them. They are too large to commit and lie, where they exist, in
// ../shared/vocabs: X.gguf, X.gguf.inp (cases with a line of their own between) and X.gguf.out (a line of ids for each
// case). src/tokenizer/golden_test.cc tests the same promises with small vocabularies that are committed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "metallic/gguf.h"
#include "metallic/tokenizer.h"
#include "model/vocab_from_gguf.h"

namespace metallic {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

class Vocabularies : public testing::TestWithParam<const char*> {};

TEST_P(Vocabularies, GiveTheIdsOfLlamaCpp) {
  const std::filesystem::path folder = std::filesystem::path(METALLIC_SOURCE_DIR) / "../shared/vocabs";
  const std::string path = folder / (std::string("ggml-vocab-") + GetParam() + ".gguf");
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "NOT RUN: there is no " << path << "; it is not part of the repository";

  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  auto vocab = vocab_from_gguf(*file);
  ASSERT_TRUE(vocab) << vocab.error().message;
  const auto tokenizer = Tokenizer::create(std::move(*vocab));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  const std::vector<std::string> cases = split(read_file(path + ".inp"), "\n__ggml_vocab_test__\n");
  const std::vector<std::string> expected = split(read_file(path + ".out"), "\n");
  ASSERT_GT(cases.size(), 40u);
  ASSERT_GE(expected.size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto ids = tokenizer->encode(cases[i], {.add_special = false, .parse_special = false});
    ASSERT_TRUE(ids) << ids.error().message;
    std::istringstream numbers(expected[i]);
    const std::vector<TokenId> want(std::istream_iterator<TokenId>{numbers}, {});
    EXPECT_EQ(*ids, want) << "case " << i << ": " << testing::PrintToString(cases[i]);
    const TokenizerKind kind = tokenizer->vocab().kind;
    if (kind == TokenizerKind::kWordPiece || kind == TokenizerKind::kUnigram) continue;  // which change the text
    EXPECT_EQ(tokenizer->decode(*ids).value(),
              tokenizer->vocab().add_space_prefix && !cases[i].empty() ? " " + cases[i] : cases[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, Vocabularies,
                         testing::Values("gpt-2", "llama-bpe", "qwen2", "starcoder", "deepseek-llm", "deepseek-coder",
                                         "mpt", "llama-spm", "bert-bge", "nomic-bert-moe"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace metallic

#include "model/vocab_from_gguf.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

namespace metallic {
namespace {

using Strings = std::vector<std::string>;

// The vocabulary of a file with the metadata that `fill` sets.
Result<Vocab> read(const std::function<void(GgufWriter&)>& fill) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("metallic_vocab_test_" + std::to_string(getpid()) + ".gguf");
  GgufWriter writer;
  writer.set_string("general.architecture", "llama");
  fill(writer);
  const Status written = writer.write(path, [](size_t, uint64_t) { return Result<std::span<const std::byte>>(); });
  EXPECT_TRUE(written) << written.error().message;
  auto file = GgufFile::open(path);
  std::filesystem::remove(path);
  EXPECT_TRUE(file) << file.error().message;
  return vocab_from_gguf(*file);
}

void set_bpe(GgufWriter& writer) {
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "qwen2");
  writer.set_strings("tokenizer.ggml.tokens", Strings{"a", "b", "ab", "<eos>"});
  writer.set_strings("tokenizer.ggml.merges", Strings{"a b"});
}

void set_spm(GgufWriter& writer) {
  writer.set_string("tokenizer.ggml.model", "llama");
  writer.set_strings("tokenizer.ggml.tokens", Strings{"<unk>", "<s>", "</s>", "a"});
  writer.set_floats("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -1.5f});
}

TEST(VocabFromGguf, ReadsWhatTheFileSays) {
  const Vocab vocab = read([](GgufWriter& writer) {
                        set_bpe(writer);
                        writer.set_ints("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 3});
                        writer.set_unsigned("tokenizer.ggml.bos_token_id", 0);
                        writer.set_unsigned("tokenizer.ggml.eos_token_id", 3);
                        writer.set_unsigned("tokenizer.ggml.eot_token_id", 2);
                        writer.set_unsigned("tokenizer.ggml.unknown_token_id", 1);
                        writer.set_unsigned("tokenizer.ggml.padding_token_id", 3);
                        writer.set_bool("tokenizer.ggml.add_bos_token", true);
                        writer.set_bool("tokenizer.ggml.add_eos_token", true);
                      }).value();
  EXPECT_EQ(vocab.kind, TokenizerKind::kBytePairEncoding);
  EXPECT_EQ(vocab.pre_tokenizer, "qwen2");
  EXPECT_EQ(vocab.tokens, (Strings{"a", "b", "ab", "<eos>"}));
  EXPECT_EQ(vocab.merges, Strings{"a b"});
  EXPECT_EQ(vocab.types,
            (std::vector{TokenType::kNormal, TokenType::kNormal, TokenType::kNormal, TokenType::kControl}));
  EXPECT_EQ(vocab.bos, 0);
  EXPECT_EQ(vocab.eos, 3);
  EXPECT_EQ(vocab.end_of_turn, 2);
  EXPECT_EQ(vocab.unknown, 1);
  EXPECT_EQ(vocab.padding, 3);
  EXPECT_TRUE(vocab.add_bos);
  EXPECT_TRUE(vocab.add_eos);
  EXPECT_FALSE(vocab.add_space_prefix);
  EXPECT_FALSE(vocab.ignore_merges);
}

TEST(VocabFromGguf, BpeAddsNothingByDefault) {
  const Vocab vocab = read(set_bpe).value();
  EXPECT_FALSE(vocab.add_bos || vocab.add_eos || vocab.ignore_merges);
  EXPECT_EQ(vocab.bos, kNoToken);
  EXPECT_TRUE(vocab.types.empty());
}

TEST(VocabFromGguf, Llama3AddsBosAndIgnoresMergesByDefault) {
  const auto fill = [](GgufWriter& writer) {
    set_bpe(writer);
    writer.set_string("tokenizer.ggml.pre", "llama-bpe");
    writer.set_unsigned("tokenizer.ggml.bos_token_id", 3);
  };
  const Vocab vocab = read(fill).value();
  EXPECT_TRUE(vocab.ignore_merges);
  EXPECT_TRUE(vocab.add_bos);
  const Vocab told_not_to = read([&](GgufWriter& writer) {
                              fill(writer);
                              writer.set_bool("tokenizer.ggml.add_bos_token", false);
                            }).value();
  EXPECT_FALSE(told_not_to.add_bos);
}

TEST(VocabFromGguf, SpmHasItsCustomaryDefaults) {
  const Vocab vocab = read(set_spm).value();
  EXPECT_EQ(vocab.kind, TokenizerKind::kSentencePiece);
  EXPECT_EQ(vocab.scores, (std::vector<float>{0, 0, 0, -1.5f}));
  EXPECT_TRUE(vocab.add_bos);
  EXPECT_FALSE(vocab.add_eos);
  EXPECT_TRUE(vocab.add_space_prefix);
  EXPECT_EQ(vocab.unknown, 0);
  EXPECT_EQ(vocab.bos, 1);
  EXPECT_EQ(vocab.eos, 2);
  const Vocab gemma = read([](GgufWriter& writer) {
                        set_spm(writer);
                        writer.set_bool("tokenizer.ggml.add_space_prefix", false);
                      }).value();
  EXPECT_FALSE(gemma.add_space_prefix);
}

TEST(VocabFromGguf, RefusesWhatItCannotRead) {
  const auto error_of = [](const std::function<void(GgufWriter&)>& fill) {
    const auto vocab = read(fill);
    return vocab ? std::string("no error") : vocab.error().message;
  };
  EXPECT_NE(error_of([](GgufWriter&) {}).find("tokenizer.ggml.model"), std::string::npos);
  EXPECT_NE(error_of([](GgufWriter& writer) {
              set_bpe(writer);
              writer.set_string("tokenizer.ggml.model", "plamo2");
            }).find("tokenizer.ggml.model is \"plamo2\"; known are \"gpt2\""),
            std::string::npos);
  EXPECT_NE(error_of([](GgufWriter& writer) {
              set_bpe(writer);
              writer.set_ints("tokenizer.ggml.tokens", std::vector<int32_t>{1});
            }).find("tokenizer.ggml.tokens is not an array of strings"),
            std::string::npos);
  EXPECT_NE(error_of([](GgufWriter& writer) {
              set_bpe(writer);
              writer.set_unsigned("tokenizer.ggml.eos_token_id", 4);
            }).find("tokenizer.ggml.eos_token_id is 4; expected a token id, 0 to 3"),
            std::string::npos);
  EXPECT_NE(error_of([](GgufWriter& writer) {
              set_spm(writer);
              writer.set_strings("tokenizer.ggml.scores", Strings{"a"});
            }).find("tokenizer.ggml.scores is not an array of numbers"),
            std::string::npos);
}

}  // namespace
}  // namespace metallic

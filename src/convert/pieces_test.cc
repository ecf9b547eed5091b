// The parts that conversion is made of, each alone.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "base/error.h"
#include "convert/arch.h"
#include "convert/pre_tokenizer_name.h"
#include "convert/rope.h"
#include "convert/sentencepiece_model.h"
#include "convert/split_file.h"
#include "convert/test_folder.h"

namespace metallic::convert {
namespace {

std::vector<float> read_all(const WeightView& view) {
  std::vector<float> values(size_t(view.elements()));
  view.read(0, view.elements(), values.data());
  return values;
}

// 0, 1, 2, ... in a checkpoint of one tensor.
class Counting : public ::testing::Test {
 protected:
  WeightView view(std::vector<uint64_t> shape) {
    std::vector<float> values(std::accumulate(shape.begin(), shape.end(), size_t(1), std::multiplies<>()));
    std::iota(values.begin(), values.end(), 0.0f);
    write_safetensors(folder_.path() / "model.safetensors", {{"t", shape, values}});
    auto checkpoint = Checkpoint::open(folder_.path().string());
    EXPECT_TRUE(checkpoint) << checkpoint.error().message;
    checkpoint_.emplace(std::move(*checkpoint));
    return WeightView(checkpoint_->tensors()[0]);
  }

  TestFolder folder_;
  std::optional<Checkpoint> checkpoint_;
};

TEST_F(Counting, SwappingTransposes) {
  const WeightView transposed = view({2, 3}).swap(0, 1);
  EXPECT_EQ(read_all(transposed), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_FALSE(transposed.is_dense());
  EXPECT_TRUE(transposed.swap(0, 1).is_dense());
}

TEST_F(Counting, SplittingAndSwappingInterleavesTheHalvesOfAHead) {
  // Two heads of 4 rows, one column: rows 0 1 2 3 of a head become 0 2 1 3.
  EXPECT_EQ(read_all(view({8, 1}).split(0, {2, 2, 2}).swap(1, 2)), (std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7}));
}

TEST_F(Counting, SlicesWithAStepTakeEveryOther) {
  const WeightView odd = view({2, 4}).slice(1, 1, 4, 2);
  EXPECT_EQ(read_all(odd), (std::vector<float>{1, 3, 5, 7}));
  const WeightView row = view({2, 4}).slice(0, 1, 2);
  EXPECT_TRUE(row.is_dense());
  EXPECT_EQ(row.bytes().size(), 16u);
  EXPECT_EQ(read_all(row), (std::vector<float>{4, 5, 6, 7}));
}

TEST_F(Counting, AnyRangeReadsAsItDoesInTheWhole) {
  const WeightView mixed = view({4, 3, 5}).slice(2, 0, 5, 2).swap(0, 1).slice(1, 1, 4);
  const std::vector<float> all = read_all(mixed);
  for (int64_t begin = 0; begin <= mixed.elements(); ++begin)
    for (int64_t count = 0; begin + count <= mixed.elements(); ++count) {
      std::vector<float> some(size_t(count) + 1, -1);
      mixed.read(begin, count, some.data());
      ASSERT_TRUE(std::equal(some.begin(), some.end() - 1, all.begin() + begin));
      ASSERT_EQ(some.back(), -1);
    }
}

std::string pre_error(const char* json) {
  return name_pre_tokenizer(nlohmann::json::parse(json), false, "").error().message;
}

TEST(PreTokenizerName, IsFoundByStructure) {
  const auto name = [](const char* json, bool ignore_merges = false, const char* preferred = "") {
    const auto found = name_pre_tokenizer(nlohmann::json::parse(json), ignore_merges, preferred);
    return found ? *found : found.error().message;
  };
  EXPECT_EQ(name(R"({"type":"ByteLevel","add_prefix_space":false})"), "gpt-2");
  EXPECT_EQ(name(R"({"type":"ByteLevel"})", false, "olmo"), "olmo");
  EXPECT_EQ(name(R"({"type":"ByteLevel"})", false, "refact"), "gpt-2");
  const char* digits =
      R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel"}]})";
  EXPECT_EQ(name(digits), "starcoder");
  EXPECT_EQ(name(digits, false, "command-r"), "command-r");
  const char* llama3 =
      R"({"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":)"
      R"("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},)"
      R"({"type":"ByteLevel","use_regex":false}]})";
  EXPECT_EQ(name(llama3, true), "llama-bpe");
  EXPECT_EQ(name(llama3, false), "dbrx");
  EXPECT_EQ(name(llama3, false, "glm4"), "glm4");
}

TEST(PreTokenizerName, WhatIsUnknownIsShownWithWhatIsKnown) {
  const std::string message =
      pre_error(R"({"type":"Sequence","pretokenizers":[{"type":"Metaspace"},{"type":"Digits"}]})");
  for (const char* part : {"Metaspace", "runs of digits", "gpt-2", "qwen2", "--pre"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_NE(pre_error("null").find("none"), std::string::npos);
  EXPECT_NE(pre_error(R"({"type":"Split","pattern":{"String":" "},"behavior":"Isolated"})").find("another kind"),
            std::string::npos);
}

// SentencePiece: pieces "<unk>" (type 2) and "ab" with score -1.5; BPE; no dummy prefix.
std::string small_model() {
  const auto message = [](int field, const std::string& payload) {
    return std::string{char(field << 3 | 2), char(payload.size())} + payload;
  };
  const float score = -1.5f;
  std::string four(4, '\0');
  std::memcpy(four.data(), &score, 4);
  return message(1, message(1, "<unk>") + "\x18\x02") + message(1, message(1, "ab") + "\x15" + four) +
         message(2, "\x18\x02") + message(3, std::string("\x18\x00", 2));
}

TEST(SentencePieceModel, ReadsPiecesScoresAndTypes) {
  const std::string bytes = small_model();
  const auto model = parse_sentencepiece_model(std::as_bytes(std::span(bytes)));
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_EQ(model->pieces.size(), 2u);
  EXPECT_EQ(model->pieces[0].text, "<unk>");
  EXPECT_EQ(model->pieces[0].type, TokenType::kUnknown);
  EXPECT_EQ(model->pieces[1].text, "ab");
  EXPECT_EQ(model->pieces[1].score, -1.5f);
  EXPECT_EQ(model->pieces[1].type, TokenType::kNormal);
  EXPECT_FALSE(model->is_unigram);
  EXPECT_FALSE(model->add_dummy_prefix);
}

TEST(SentencePieceModel, SurvivesEveryTruncationAndEveryByteValue) {
  const std::string good = small_model();
  for (size_t size = 0; size < good.size(); ++size) {
    const std::string bytes = good.substr(0, size);
    const auto model = parse_sentencepiece_model(std::as_bytes(std::span(bytes)));
    EXPECT_TRUE(model || !model.error().message.empty());
  }
  size_t refused = 0;
  for (size_t at = 0; at < good.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string bytes = good;
      bytes[at] = char(value);
      refused += !parse_sentencepiece_model(std::as_bytes(std::span(bytes)));
    }
  EXPECT_GT(refused, good.size() * 64);
  const std::string endless(11, '\xff');
  EXPECT_FALSE(parse_sentencepiece_model(std::as_bytes(std::span(endless))));
}

JsonObject parse(const char* json) {
  auto object = JsonObject::parse("config.json", json);
  EXPECT_TRUE(object) << object.error().message;
  return *object;
}

TEST(JsonObject, NamesFileKeyAndWhatIsWrong) {
  const JsonObject object =
      parse(R"({"a": "x", "b": -1, "c": null, "inner": {"d": true}, "big": 18446744073709551615})");
  const auto message = [](const auto& result) { return result ? std::string("fine") : result.error().message; };
  EXPECT_EQ(message(object.size({"z", "y"})), "config.json: the key z or y is missing");
  EXPECT_EQ(message(object.size({"c"})), "config.json: the key c is missing");
  EXPECT_NE(message(object.size({"a"})).find("config.json: a is \"x\""), std::string::npos);
  EXPECT_NE(message(object.size({"b"})).find("b is -1; a number from 1 to"), std::string::npos);
  EXPECT_NE(message(object.integer({"big"})).find("64 bits"), std::string::npos);
  EXPECT_NE(message(object.object({"inner"})->size({"d"})).find("inner.d is true"), std::string::npos);
  EXPECT_NE(message(object.object({"inner"})->size({"e"})).find("the key inner.e is missing"), std::string::npos);
  EXPECT_EQ(*object.size_or({"c"}, 7), 7);
  EXPECT_EQ(*parse(R"({"x": 3.0})").integer({"x"}), 3);
}

TEST(JsonObject, RefusesDeepAndBrokenText) {
  EXPECT_FALSE(JsonObject::parse("f", std::string(100000, '[')));
  EXPECT_FALSE(JsonObject::parse("f", "{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}"));
  EXPECT_NE(JsonObject::parse("f", "{\"a\": }").error().message.find("byte 7"), std::string::npos);
  EXPECT_FALSE(JsonObject::parse("f", "[]"));
  EXPECT_NE(JsonObject::parse("f", "{\"a\": 1e999}").error().message.find("beyond"), std::string::npos);
  EXPECT_TRUE(JsonObject::parse("f", "{\"a\": \"" + std::string(1000, '[') + "\"}"));
}

TEST(Rope, OldAndNewKeysSayTheSame) {
  const auto old_keys =
      read_rope(parse(R"({"rope_theta": 5e5, "max_position_embeddings": 64, "partial_rotary_factor": 0.5,
      "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}})"));
  const auto new_keys = read_rope(parse(R"({"max_position_embeddings": 64, "rope_parameters": {"rope_type": "yarn",
      "rope_theta": 5e5, "partial_rotary_factor": 0.5, "factor": 4.0, "original_max_position_embeddings": 16}})"));
  for (const auto* rope : {&old_keys, &new_keys}) {
    ASSERT_TRUE(*rope);
    EXPECT_EQ((*rope)->type, "yarn");
    EXPECT_EQ((*rope)->theta, 5e5);
    EXPECT_EQ((*rope)->partial, 0.5);
    EXPECT_EQ((*rope)->original_context, 16);
  }
  const auto unknown = read_rope(parse(R"({"rope_scaling": {"type": "spiral", "factor": 4.0}})"));
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'spiral' is not supported; the known types are: default"), std::string::npos);
}

TEST(ConvertArch, NamesAreUniqueAndRulesComplete) {
  std::set<std::string> names;
  for (const ConvertArch* arch : all_convert_archs()) {
    EXPECT_FALSE(arch->rules.empty()) << arch->name;
    for (const std::string_view name : arch->hf_names)
      EXPECT_TRUE(names.insert(std::string(name) + std::string(arch->only_with)).second) << name;
    for (const TensorRule& rule : arch->rules) EXPECT_NE(rule.transform, nullptr) << rule.from;
  }
  const auto unknown = find_convert_arch("MambaForCausalLM", parse("{}"));
  ASSERT_FALSE(unknown);
  for (const char* part : {"'MambaForCausalLM'", "LlamaForCausalLM", "BertModel"})
    EXPECT_NE(unknown.error().message.find(part), std::string::npos);
}

TEST(ParseSize, KnowsTheUnits) {
  EXPECT_EQ(*parse_size("2G"), 2'000'000'000u);
  EXPECT_EQ(*parse_size("500M"), 500'000'000u);
  EXPECT_EQ(*parse_size("123"), 123u);
  for (const char* bad : {"", "G", "-1", "2K", "0", "99999999999999999999", "18446744073709551615G", "1.5G"})
    EXPECT_FALSE(parse_size(bad)) << bad;
}

}  // namespace
}  // namespace metallic::convert

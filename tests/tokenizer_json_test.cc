// tokenizer.json in conversion: every class of broken file is refused, with the file and the fault named.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "convert/convert.h"
#include "convert/test_folder.h"
#include "metallic/gguf.h"

namespace metallic {
namespace {

using nlohmann::json;

struct BrokenTokenizer {
  const char* what;
  const char* folder;                 // of tests/data/architectures
  std::function<void(json&)> change;  // of tokenizer.json
  const char* message;                // a part of it
};

const BrokenTokenizer kBroken[] = {
    {"no model", "qwen3", [](json& t) { t.erase("model"); }, "model"},
    {"a model that is a list", "qwen3", [](json& t) { t["model"] = json::array(); }, "model"},
    {"a type that is a number", "qwen3", [](json& t) { t["model"]["type"] = 5; }, "type"},
    {"an unknown type", "qwen3", [](json& t) { t["model"]["type"] = "WordLevel"; }, "'WordLevel' is not supported"},
    {"no vocabulary", "qwen3", [](json& t) { t["model"].erase("vocab"); }, "vocab"},
    {"an empty vocabulary", "qwen3", [](json& t) { t["model"]["vocab"] = json::object(); }, "model.vocab is empty"},
    {"a vocabulary that is a list", "qwen3", [](json& t) { t["model"]["vocab"] = json::array({"a"}); }, "vocab"},
    {"an id that is text", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = "0"; }, "the id of the token '!'"},
    {"an id that is a fraction", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = 0.5; }, "the id of the token '!'"},
    {"an id below zero", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = -1; }, "has the id -1"},
    {"an id beyond the vocabulary", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = 272; }, "has the id 272"},
    {"an id of 2^63", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = uint64_t(1) << 63; },
     "the token '!' has the id"},
    {"two tokens of one id", "qwen3", [](json& t) { t["model"]["vocab"]["!"] = 1; }, "have the same id, 1"},
    {"the same with WordPiece", "bert", [](json& t) { t["model"]["vocab"]["[PAD]"] = 7; }, "have the same id, 7"},
    {"the same with byte fallback", "granite", [](json& t) { t["model"]["vocab"].begin().value() = 9; },
     "the same id, 9"},
    {"no merges", "qwen3", [](json& t) { t["model"].erase("merges"); }, "model.merges is no array"},
    {"merges that are text", "qwen3", [](json& t) { t["model"]["merges"] = "h e"; }, "model.merges is no array"},
    {"a merge of one token", "qwen3", [](json& t) { t["model"]["merges"][3] = "he"; }, "entry 3 of model.merges"},
    {"a merge of three", "qwen3",
     [](json& t) {
       t["model"]["merges"][3] = {"h", "e", "r"};
     },
     "entry 3 of model.merges"},
    {"a merge of numbers", "qwen3",
     [](json& t) {
       t["model"]["merges"][3] = {1, 2};
     },
     "entry 3 of model.merges"},
    {"a merge that makes no token", "qwen3",
     [](json& t) {
       t["model"]["merges"][3] = {"q", "q"};
     },
     "the token 'qq'"},
    {"a merge of no token", "qwen3",
     [](json& t) {
       t["model"]["merges"][3] = {"no", "pe"};
     },
     "the token 'no'"},
    {"the same with byte fallback", "mistral-json",
     [](json& t) {
       t["model"]["merges"][3] = {"no", "pe"};
     },
     "'no'"},
    {"marks of words' ends", "qwen3", [](json& t) { t["model"]["end_of_word_suffix"] = "</w>"; }, "'</w>'"},
    {"added tokens that are an object", "qwen3",
     [](json& t) {
       t["added_tokens"] = {{"a", 1}};
     },
     "added_tokens is no array"},
    {"an added token without an id", "qwen3", [](json& t) { t["added_tokens"][0].erase("id"); }, "has no id"},
    {"an added token without a text", "qwen3", [](json& t) { t["added_tokens"][0].erase("content"); },
     "has no content"},
    {"an added token with another's id", "qwen3", [](json& t) { t["added_tokens"][0]["id"] = 4; },
     "has the id 4, which is"},
    {"two added tokens of one id", "qwen3", [](json& t) { t["added_tokens"][1]["id"] = 269; },
     "has the id 269, which is"},
    {"an added token beyond", "qwen3", [](json& t) { t["added_tokens"][1]["id"] = 4096; }, "has the id 4096"},
    {"an added token of a unigram", "xlm-roberta", [](json& t) { t["added_tokens"][0]["id"] = 9; },
     "has the id 9, which is"},
    {"a score that is text", "xlm-roberta", [](json& t) { t["model"]["vocab"][9][1] = "0"; }, "entry 9 of model.vocab"},
    {"an unknown token beyond", "xlm-roberta", [](json& t) { t["model"]["unk_id"] = 160; }, "model.unk_id is 160"},
    {"a pre-tokeniser that is text", "qwen3", [](json& t) { t["pre_tokenizer"] = "ByteLevel"; },
     "pre_tokenizer is no object"},
    {"a normaliser that is a list", "bert", [](json& t) { t["normalizer"] = json::array(); },
     "normalizer is no object"},
    {"a post-processor that is a number", "llama3", [](json& t) { t["post_processor"] = 1; },
     "post_processor is no object"},
    {"a decoder that is true", "llama3", [](json& t) { t["decoder"] = true; }, "decoder is no object"},
    {"a template of no token", "llama3",
     [](json& t) { t["post_processor"]["single"][0]["SpecialToken"]["id"] = "<nobody>"; },
     "'<nobody>', which the vocabulary lacks"},
};

class TokenizerJson : public ::testing::Test {
 protected:
  // A copy of the folder; "mistral-json" is mistral without the tokenizer.model that comes first.
  std::filesystem::path copy(const std::string& name) const {
    const std::string source = name.substr(0, name.find("-json"));
    const std::filesystem::path folder = folder_.path() / name;
    std::filesystem::copy(std::string(METALLIC_SOURCE_DIR) + "/tests/data/architectures/" + source, folder,
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    if (source != name) std::filesystem::remove(folder / "tokenizer.model");
    return folder;
  }
  // Empty if the folder was converted.
  std::string error_of(const std::filesystem::path& folder) const {
    const std::filesystem::path out = folder_.path() / "out.gguf";
    const auto summary = convert::convert_folder(folder.string(), out.string());
    EXPECT_EQ(std::filesystem::exists(out), summary.has_value());
    std::filesystem::remove(out);
    return summary ? "" : summary.error().message;
  }
  TestFolder folder_;
};

TEST_F(TokenizerJson, IsRefusedWithTheFileAndTheFaultNamed) {
  for (const BrokenTokenizer& broken : kBroken) {
    const std::filesystem::path folder = copy(broken.folder), path = folder / "tokenizer.json";
    EXPECT_EQ(error_of(folder), "") << broken.folder;
    json tokenizer = json::parse(std::ifstream(path));
    broken.change(tokenizer);
    std::ofstream(path) << tokenizer;
    const std::string message = error_of(folder);
    EXPECT_NE(message.find(broken.message), std::string::npos) << broken.what << ": " << message;
    EXPECT_EQ(message.find(path.string()), 0u) << broken.what << ": " << message;
  }
}

TEST_F(TokenizerJson, CutOffAnywhereIsRefused) {
  const std::filesystem::path folder = copy("bert"), path = folder / "tokenizer.json";
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  const size_t end = whole.find_last_of('}');
  ASSERT_NE(end, std::string::npos);
  for (size_t length = 0; length <= end; length += length < 64 || length + 64 > end ? 1 : end / 50) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, length);
    EXPECT_EQ(error_of(folder).find(path.string()), 0u) << length;
  }
}

// Files beside tokenizer.model name tokens that it left unused.
TEST_F(TokenizerJson, BesideATokenizerModelMayRenameTokens) {
  const std::filesystem::path folder = copy("mistral"), path = folder / "tokenizer.json";
  json tokenizer = json::parse(std::ifstream(path));
  tokenizer["added_tokens"].push_back({{"id", 280}, {"content", "<|im_start|>"}, {"special", true}});
  std::ofstream(path) << tokenizer;
  EXPECT_EQ(error_of(folder), "");
}

TEST_F(TokenizerJson, OfAnotherKindThanTheArchitecturesOwnIsTaken) {
  const std::filesystem::path folder = copy("mistral-json"), path = folder_.path() / "words.gguf";
  std::filesystem::copy_file(copy("bert") / "tokenizer.json", folder / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  const auto summary = convert::convert_folder(folder.string(), path.string());
  ASSERT_TRUE(summary) << summary.error().message;
  const auto file = GgufFile::open(path.string());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->find("tokenizer.ggml.token_type_count"), nullptr);
}

}  // namespace
}  // namespace metallic

// Every architecture against transformers: a tiny Hugging Face folder is converted and evaluated
// (tests/data/architectures).
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backend/backend.h"
#include "backend/test_support.h"
#include "convert/convert.h"
#include "engine/evaluator.h"
#include "metallic/tokenizer.h"
#include "model/vocab_from_gguf.h"
#include "support/golden.h"

namespace metallic {
namespace {

namespace fs = std::filesystem;

fs::path data_folder() { return fs::path(METALLIC_SOURCE_DIR) / "tests" / "data" / "architectures"; }

std::vector<std::string> folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(data_folder()))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

class EveryConvertedModel : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::string folder() const { return std::get<0>(GetParam()); }
  std::string backend() const { return std::get<1>(GetParam()); }
  void SetUp() override {
    METALLIC_SKIP_IF_ABSENT(backend());
    output_ =
        (fs::temp_directory_path() / ("metallic-" + std::to_string(::getpid()) + "-" + folder() + ".gguf")).string();
    const auto summary = convert::convert_folder((data_folder() / folder()).string(), output_);
    ASSERT_TRUE(summary) << summary.error().message;
  }
  void TearDown() override { fs::remove(output_); }

  std::string data(const std::string& name) const { return (data_folder() / folder() / name).string(); }

  // "cpu" and "cuda" take tokens in 8 bits or in bfloat16, as the weights are.
  double tolerance() const { return backend() == "cpu" || backend() == "cuda" ? 3e-2 : 1e-4; }

  // The outputs of every position, the whole sequence at once or cut into chunks.
  std::vector<float> evaluate(const std::string& on, std::span<const TokenId> tokens, size_t chunk) const {
    auto model = Model::load(output_, *open_backend(on, 2));
    EXPECT_TRUE(model) << (model ? "" : model.error().message);
    if (!model) return {};
    auto evaluator = Evaluator::create(*model, int(tokens.size()), int(tokens.size()), Format::kF32);
    EXPECT_TRUE(evaluator) << (evaluator ? "" : evaluator.error().message);
    if (!evaluator) return {};
    std::vector<float> all, part;
    for (size_t at = 0; at < tokens.size(); at += chunk) {
      const size_t rows = std::min(chunk, tokens.size() - at);
      std::vector<int32_t> wanted(rows);
      for (size_t i = 0; i < rows; ++i) wanted[i] = int32_t(i);
      const Status status = (*evaluator)->feed(tokens.subspan(at, rows), wanted, part);
      EXPECT_TRUE(status) << (status ? "" : status.error().message);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }

  std::string output_;
};

TEST_P(EveryConvertedModel, GivesTheResultsOfTransformers) {
  for (const std::string prompt : {"", "short."}) {
    if (!fs::exists(data(prompt + "tokens.npy"))) continue;
    const auto tokens = testing::read_array<int32_t>(data(prompt + "tokens.npy"));
    const bool encoder = fs::exists(data("hidden.npy"));
    const auto golden = testing::read_array<float>(data(prompt + (encoder ? "hidden.npy" : "logits.npy")));
    const auto whole = evaluate(backend(), tokens, tokens.size());
    ASSERT_EQ(whole.size(), golden.size());
    EXPECT_LE(testing::relative_l2(whole, golden), tolerance()) << prompt;
    if (encoder || (backend() != "cpu" && backend() != "cuda-reproducible")) continue;
    EXPECT_EQ(whole, evaluate(backend(), tokens, 1)) << "one token at a time";
    EXPECT_EQ(whole, evaluate(backend(), tokens, 7)) << "in chunks";
  }
}

// The mean over the outputs of a text's tokens, [CLS] and [SEP] among them, for the texts of encodings.json.
TEST_P(EveryConvertedModel, EmbedsTextsLikeTransformers) {
  if (!fs::exists(data("embeddings.npy"))) return;  // no encoder
  const auto golden = testing::read_array<float>(data("embeddings.npy"));
  const auto vocab = vocab_from_gguf(*GgufFile::open(output_));
  ASSERT_TRUE(vocab) << vocab.error().message;
  const auto tokenizer = Tokenizer::create(*vocab);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto texts = nlohmann::json::parse(std::ifstream(data("encodings.json")));
  std::vector<float> embeddings;
  for (const auto& one : texts) {
    const auto tokens = tokenizer->encode(one["text"].get<std::string>()).value();
    EXPECT_EQ(tokens, one["ids"].get<std::vector<TokenId>>());
    const auto outputs = evaluate(backend(), tokens, tokens.size());
    const size_t width = outputs.size() / tokens.size();
    for (size_t i = 0; i < width; ++i) {
      double sum = 0;
      for (size_t row = 0; row < tokens.size(); ++row) sum += double(outputs[row * width + i]);
      embeddings.push_back(float(sum / double(tokens.size())));
    }
  }
  ASSERT_EQ(embeddings.size(), golden.size());
  EXPECT_LE(testing::relative_l2(embeddings, golden), tolerance());
}

INSTANTIATE_TEST_SUITE_P(
    Folders, EveryConvertedModel,
    ::testing::Combine(::testing::ValuesIn(folders()),
                       ::testing::ValuesIn(std::vector<std::string>(backend_names().begin(), backend_names().end()))),
    [](const auto& test) { return testing::test_name(std::get<0>(test.param) + "_" + std::get<1>(test.param)); });

}  // namespace
}  // namespace metallic

// Importance matrices: both kinds of files, what is collected of every matrix and every expert, and that each expert is
// quantised with its own.
#include "model/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>

#include "convert/convert.h"
#include "convert/test_folder.h"
#include "engine/collect_importance.h"
#include "metallic/gguf.h"
#include "model/quantize_file.h"
#include "quant/dequantize.h"
#include "quant/quantize.h"
#include "support/golden.h"

namespace metallic {
namespace {

ImportanceMatrix small_matrix() {
  ImportanceMatrix matrix;
  matrix.datasets = {"words.txt"};
  matrix.chunks = 3;
  matrix.chunk_tokens = 64;
  matrix.tensors["a.weight"] = {4, {0, 2, 4, 6}, {2}};
  matrix.tensors["b.weight"] = {2, {8, 4, 0, 0, 3, 9}, {4, 0, 3}};  // the second of three experts saw nothing
  return matrix;
}

TEST(Importance, ComesBackFromItsFile) {
  const TestFolder folder;
  const std::string path = (folder.path() / "importance.gguf").string();
  ASSERT_TRUE(small_matrix().write(path));
  const auto matrix = ImportanceMatrix::read(path);
  ASSERT_TRUE(matrix) << matrix.error().message;
  ASSERT_EQ(matrix->tensors.size(), 2u);
  EXPECT_EQ(matrix->datasets, small_matrix().datasets);
  EXPECT_EQ(matrix->chunks, 3u);
  EXPECT_EQ(matrix->chunk_tokens, 64u);
  const TensorImportance& tensor = matrix->tensors.at("b.weight");
  EXPECT_EQ(tensor.columns, 2);
  EXPECT_EQ(tensor.matrices(), 3);
  EXPECT_EQ(tensor.mean_squares(), (std::vector<float>{2, 1, 1, 1, 1, 3}));
}

TEST(Importance, ComesBackFromTheOlderFileAsMeans) {
  const TestFolder folder;
  const std::string path = (folder.path() / "importance.dat").string();
  ASSERT_TRUE(small_matrix().write_legacy(path));
  const auto matrix = ImportanceMatrix::read(path);
  ASSERT_TRUE(matrix) << matrix.error().message;
  EXPECT_EQ(matrix->datasets, small_matrix().datasets);
  EXPECT_EQ(matrix->chunks, 3u);
  for (const auto& [name, tensor] : small_matrix().tensors)
    EXPECT_EQ(matrix->tensors.at(name).mean_squares(), tensor.mean_squares()) << name;
}

TEST(Importance, IsReadFromTheOlderFileAndEveryCutOfItIsAnError) {
  std::string bytes;
  const auto put = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  put(int32_t{1});
  put(int32_t{8});
  bytes += "a.weight";
  put(int32_t{2});
  put(int32_t{3});
  for (const float value : {2.0f, 4.0f, 0.0f}) put(value);
  const TestFolder folder;
  const std::string path = (folder.path() / "old.dat").string();
  const auto write = [&](size_t size) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), std::streamsize(size));
  };
  write(bytes.size());
  const auto matrix = ImportanceMatrix::read(path);
  ASSERT_TRUE(matrix) << matrix.error().message;
  EXPECT_EQ(matrix->tensors.at("a.weight").mean_squares(), (std::vector<float>{1, 2, 0}));
  for (size_t size = 1; size < bytes.size(); ++size) {
    write(size);
    EXPECT_FALSE(ImportanceMatrix::read(path)) << size;
  }
  const float bad = -1;
  std::memcpy(bytes.data() + bytes.size() - 4, &bad, 4);
  write(bytes.size());
  EXPECT_FALSE(ImportanceMatrix::read(path));
}

TEST(Importance, IsNoGgufFileOfAnotherKind) {
  const auto matrix = ImportanceMatrix::read(testing::model_path("qwen2.gguf"));
  ASSERT_FALSE(matrix);
  EXPECT_NE(matrix.error().message.find("general.type"), std::string::npos);
}

constexpr int kChunkTokens = 32;

Result<ImportanceMatrix> collect(const std::string& model) {
  ImportanceOptions options;
  options.model_path = model;
  options.context = kChunkTokens;
  options.threads = 2;
  options.dataset = "words";
  std::string text;
  for (int i = 0; i < 40; ++i) text += "some words, other things " + std::to_string(i * i) + " ";
  return collect_importance(text, options);
}

bool is_expert(const TensorInfo& info) { return info.name.find("_exps.") != std::string_view::npos; }

TEST(Importance, IsCollectedForEveryMatrixOfALayerAndFitsTheModel) {
  const std::string model = testing::model_path("qwen2.gguf");
  const auto matrix = collect(model);
  ASSERT_TRUE(matrix) << matrix.error().message;
  EXPECT_GT(matrix->chunks, 1u);
  const auto file = GgufFile::open(model);
  ASSERT_TRUE(file);
  size_t matrices = 0;
  for (const TensorInfo& info : file->tensors()) {
    if (info.rank < 2 || !info.name.starts_with("blk.")) continue;
    ++matrices;
    ASSERT_EQ(matrix->tensors.count(std::string(info.name)), 1u) << info.name;
    const TensorImportance& tensor = matrix->tensors.at(std::string(info.name));
    EXPECT_EQ(tensor.columns, int64_t(info.size[0]));
    EXPECT_EQ(tensor.counts[0], float(matrix->chunks * kChunkTokens));
  }
  EXPECT_EQ(matrix->tensors.size(), matrices);  // no head, no embedding
  // Query and key share their input.
  EXPECT_EQ(matrix->tensors.at("blk.0.attn_q.weight").sums, matrix->tensors.at("blk.0.attn_k.weight").sums);
  EXPECT_NE(matrix->tensors.at("blk.0.attn_q.weight").sums, matrix->tensors.at("blk.1.attn_q.weight").sums);
}

// Tiny mixtures of experts, converted from tests/data/architectures.
class Mixture : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string source = std::string(METALLIC_SOURCE_DIR) + "/tests/data/architectures/" + GetParam();
    const auto summary = convert::convert_folder(source, model_);
    ASSERT_TRUE(summary) << summary.error().message;
    auto matrix = collect(model_);
    ASSERT_TRUE(matrix) << matrix.error().message;
    importance_ = std::move(*matrix);
    auto file = GgufFile::open(model_);
    ASSERT_TRUE(file);
    file_.emplace(std::move(*file));
  }

  std::string in_folder(const std::string& name) const { return (folder_.path() / name).string(); }
  const TensorImportance& of(const std::string& name) const { return importance_.tensors.at(name); }

  const TestFolder folder_;
  const std::string model_ = in_folder("model.gguf");
  ImportanceMatrix importance_;
  std::optional<GgufFile> file_;
};
INSTANTIATE_TEST_SUITE_P(Importance, Mixture,
                         ::testing::Values("mixtral", "qwen2moe", "qwen3moe", "granitemoe", "deepseek2-lite",
                                           "deepseek3"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(Mixture, HasTheImportanceOfEveryExpert) {
  const std::string architecture(*file_->get_string("general.architecture"));
  const auto used = float(*file_->get_unsigned(architecture + ".expert_used_count"));
  const auto tokens = float(importance_.chunks * kChunkTokens);
  size_t experts = 0;
  for (const TensorInfo& info : file_->tensors()) {
    if (info.rank < 2 || !info.name.starts_with("blk.")) continue;
    SCOPED_TRACE(info.name);
    ASSERT_EQ(importance_.tensors.count(std::string(info.name)), 1u);
    const TensorImportance& tensor = of(std::string(info.name));
    EXPECT_EQ(tensor.columns, int64_t(info.size[0]));
    ASSERT_EQ(tensor.matrices(), int64_t(info.size[2]));
    // Each token is seen by as many experts as are used, and by every head.
    const float seen = std::accumulate(tensor.counts.begin(), tensor.counts.end(), 0.0f);
    EXPECT_EQ(seen, tokens * (is_expert(info) ? used : float(info.size[2])));
    experts += is_expert(info) ? 1 : 0;
  }
  EXPECT_GE(experts, 3u);
}

TEST_P(Mixture, SharesTheRoutersInputAmongTheExperts) {
  const std::string architecture(*file_->get_string("general.architecture"));
  const auto used = float(*file_->get_unsigned(architecture + ".expert_used_count"));
  const TensorImportance &gate = of("blk.1.ffn_gate_exps.weight"), &router = of("blk.1.ffn_gate_inp.weight");
  EXPECT_EQ(gate.sums, of("blk.1.ffn_up_exps.weight").sums);
  for (int64_t column = 0; column < gate.columns; ++column) {
    double sum = 0;
    for (int64_t expert = 0; expert < gate.matrices(); ++expert)
      sum += double(gate.sums[size_t(expert * gate.columns + column)]);
    EXPECT_NEAR(sum, double(used * router.sums[size_t(column)]), 1e-5 * sum) << column;
  }
}

TEST_P(Mixture, IsQuantisedExpertByExpertWithItsOwnImportance) {
  ASSERT_TRUE(importance_.write(in_folder("importance.gguf")));
  ASSERT_TRUE(importance_.write_legacy(in_folder("importance.dat")));
  const TensorInfo& source = *file_->find_tensor("blk.1.ffn_down_exps.weight");
  const int64_t columns = int64_t(source.size[0]), rows = int64_t(source.size[1]);
  std::vector<float> weights(source.elements());
  dequantize_row(source.format, file_->tensor_data(source).data(), int64_t(weights.size()), weights.data());
  for (const char* importance : {"importance.gguf", "importance.dat"}) {
    const auto stored = ImportanceMatrix::read(in_folder(importance));  // the older kind has rounded numbers
    ASSERT_TRUE(stored) << stored.error().message;
    const std::vector<float> means = stored->tensors.at("blk.1.ffn_down_exps.weight").mean_squares();
    QuantizeOptions options;
    options.type = "Q4_0";  // blocks of 32, which fit the rows
    options.keep = {"*=Q4_0"};
    options.importance_path = in_folder(importance);
    const auto report = quantize_file(model_, in_folder("out.gguf"), options);
    ASSERT_TRUE(report) << report.error().message;
    const auto out = GgufFile::open(in_folder("out.gguf"));
    ASSERT_TRUE(out);
    const std::span<const std::byte> written = out->tensor_data(*out->find_tensor("blk.1.ffn_down_exps.weight"));
    const size_t bytes = written.size() / size_t(source.size[2]);
    size_t unlike_plain = 0;
    for (size_t expert = 0; expert < size_t(source.size[2]); ++expert) {
      const float* const matrix = weights.data() + int64_t(expert) * rows * columns;
      std::vector<std::byte> expected(bytes), plain(bytes);
      quantize_rows(Format::kQ4_0, matrix, rows, columns, means.data() + int64_t(expert) * columns, expected.data());
      quantize_rows(Format::kQ4_0, matrix, rows, columns, nullptr, plain.data());
      const std::span<const std::byte> actual = written.subspan(expert * bytes, bytes);
      EXPECT_TRUE(std::equal(actual.begin(), actual.end(), expected.begin())) << importance << ", expert " << expert;
      unlike_plain += std::equal(actual.begin(), actual.end(), plain.begin()) ? 0 : 1;
    }
    EXPECT_GT(unlike_plain, 0u) << "the importance made no difference";
  }
}

TEST_P(Mixture, IsWrittenInEveryTypeAndSaysWhichRowsDidNotFit) {
  ASSERT_TRUE(importance_.write(in_folder("importance.gguf")));
  for (const char* type : {"Q4_K_M", "Q2_K", "IQ2_XXS", "IQ4_XS", "TQ1_0", "MXFP4_MOE", "Q5_1"}) {
    SCOPED_TRACE(type);
    QuantizeOptions options;
    options.type = type;
    options.importance_path = in_folder("importance.gguf");
    size_t said = 0;
    options.on_tensor = [&](const QuantizeProgress& progress) { said += progress.fallback ? 1 : 0; };
    const auto report = quantize_file(model_, in_folder("out.gguf"), options);
    ASSERT_TRUE(report) << report.error().message;
    const bool wide = std::string_view(type) != "MXFP4_MOE" && std::string_view(type) != "Q5_1";
    if (wide) {
      EXPECT_GT(report->fallbacks, 0u);  // rows of 32 are no blocks of 256
    }
    EXPECT_EQ(said, report->fallbacks);
    const auto out = GgufFile::open(in_folder("out.gguf"));
    ASSERT_TRUE(out);
    for (const TensorInfo& info : out->tensors())
      EXPECT_EQ(info.size[0] % uint64_t(format_info(info.format).block_elements), 0u) << info.name;
  }
}

}  // namespace
}  // namespace metallic

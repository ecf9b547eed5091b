// Quantising whole files: what is written, what is refused, and that a run that fails leaves nothing behind.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "metallic/gguf.h"
#include "model/importance.h"
#include "model/quantize_file.h"
#include "model/quantize_mix.h"
#include "quant/dequantize.h"
#include "support/golden.h"
#include "support/resident_memory.h"

namespace metallic {
namespace {

namespace fs = std::filesystem;

class QuantizeFile : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  std::string in_folder(const std::string& name) const { return (folder_ / name).string(); }
  size_t files() const { return size_t(std::distance(fs::directory_iterator(folder_), fs::directory_iterator())); }

  // A file of a few tensors of a decoder of 16 layers; rows of 256 but for one tensor.
  std::string write_model(const std::vector<std::pair<std::string, std::vector<uint64_t>>>& tensors, float bad = 0) {
    GgufWriter writer;
    writer.set_string("general.architecture", "llama");
    writer.set_unsigned("llama.block_count", 16);
    writer.set_unsigned("llama.attention.head_count", 8);
    writer.set_unsigned("llama.attention.head_count_kv", 8);
    writer.set_string("custom.note", "kept");
    writer.set_unsigned("split.count", 1);
    std::vector<uint64_t> elements;
    for (const auto& [name, size] : tensors) {
      EXPECT_TRUE(writer.add_tensor(name, Format::kF32, size));
      elements.push_back(1);
      for (const uint64_t each : size) elements.back() *= each;
    }
    std::vector<float> weights;
    const std::string path = in_folder("model.gguf");
    EXPECT_TRUE(writer.write(path, [&](size_t index, uint64_t) -> Result<std::span<const std::byte>> {
      weights.resize(size_t(elements[index]));
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(float(i * i % 1000) + float(index));
      if (bad != 0) weights[300] = bad;
      return std::as_bytes(std::span<const float>(weights));
    }));
    return path;
  }

  std::string small_model() {
    return write_model({{"token_embd.weight", {256, 8}},
                        {"output.weight", {256, 8}},
                        {"output_norm.weight", {256}},
                        {"blk.0.attn_v.weight", {256, 4}},
                        {"blk.5.attn_v.weight", {256, 4}},
                        {"blk.0.attn_norm.weight", {256}},
                        {"blk.0.ffn_gate_inp.weight", {256, 4}},
                        {"blk.0.ffn_up.weight", {256, 4}},
                        {"blk.0.ffn_down.weight", {96, 256}},
                        {"blk.5.ffn_gate_exps.weight", {256, 4, 3}}});
  }

  Result<QuantizeReport> quantize(const std::string& input, const std::string& type, QuantizeOptions options = {}) {
    options.type = type;
    options.threads = 2;
    return quantize_file(input, in_folder("out.gguf"), options);
  }
  std::string error_of(const std::string& input, const std::string& type, const QuantizeOptions& options = {}) {
    const auto report = quantize(input, type, options);
    EXPECT_FALSE(report);
    EXPECT_FALSE(fs::exists(in_folder("out.gguf")));
    return report ? "" : report.error().message;
  }
  Format written(const std::string& tensor) {
    const auto file = GgufFile::open(in_folder("out.gguf"));
    EXPECT_TRUE(file);
    const TensorInfo* const info = file ? file->find_tensor(tensor) : nullptr;
    EXPECT_NE(info, nullptr) << tensor;
    return info ? info->format : Format::kI8;
  }
  std::string write_importance(int64_t columns, const std::vector<std::string>& names, int64_t matrices = 1) {
    ImportanceMatrix matrix;
    for (const std::string& name : names) {
      TensorImportance& tensor = matrix.tensors[name];
      tensor.columns = columns;
      tensor.counts.assign(size_t(matrices), 4.0f);
      for (int64_t i = 0; i < columns * matrices; ++i) tensor.sums.push_back(float(i % 5));
    }
    EXPECT_TRUE(matrix.write(in_folder("importance.gguf")));
    return in_folder("importance.gguf");
  }

  const fs::path folder_ = fs::temp_directory_path() / ("metallic-quantize-" + std::to_string(::getpid()));
};

TEST_F(QuantizeFile, MixesFormatsAsTheTypeSaysAndKeepsWhatIsSmall) {
  ASSERT_TRUE(quantize(small_model(), "Q4_K_M"));
  EXPECT_EQ(written("token_embd.weight"), Format::kQ4_K);
  EXPECT_EQ(written("output.weight"), Format::kQ6_K);
  EXPECT_EQ(written("blk.0.attn_v.weight"), Format::kQ4_K);
  EXPECT_EQ(written("blk.5.attn_v.weight"), Format::kQ6_K);  // the last layer with attention gets more
  EXPECT_EQ(written("blk.0.ffn_up.weight"), Format::kQ4_K);
  EXPECT_EQ(written("blk.5.ffn_gate_exps.weight"), Format::kQ4_K);
  EXPECT_EQ(written("blk.0.ffn_down.weight"), Format::kQ8_0);  // Q6_K by the mix, but rows of 96
  for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_gate_inp.weight"})
    EXPECT_EQ(written(name), Format::kF32) << name;
}

TEST_F(QuantizeFile, CopiesTheMetadataAndSaysWhatTheFileIs) {
  ASSERT_TRUE(quantize(small_model(), "q5_k_s"));
  const auto file = GgufFile::open(in_folder("out.gguf"));
  ASSERT_TRUE(file);
  EXPECT_EQ(file->get_string("custom.note").value_or(""), "kept");
  EXPECT_EQ(file->get_unsigned("general.file_type").value_or(0), 16u);
  EXPECT_EQ(file->get_unsigned("general.quantization_version").value_or(0), 2u);
  EXPECT_EQ(file->find("split.count"), nullptr);
  EXPECT_EQ(file->tensors().size(), 10u);
}

TEST_F(QuantizeFile, WritesEveryTypeWithImportanceCloseToTheSource) {
  const std::string model = small_model();
  QuantizeOptions options;
  options.importance_path =
      write_importance(256, {"blk.0.attn_v.weight", "blk.5.attn_v.weight", "blk.0.ffn_up.weight", "output.weight"});
  options.keep = {"*_exps.*=Q8_0"};
  const auto source = GgufFile::open(model);
  ASSERT_TRUE(source);
  for (const QuantizeType& type : quantize_types()) {
    SCOPED_TRACE(type.name);
    const auto report = quantize(model, type.name, options);
    ASSERT_TRUE(report) << report.error().message;
    const auto file = GgufFile::open(in_folder("out.gguf"));
    ASSERT_TRUE(file);
    for (const TensorInfo& info : file->tensors()) {
      std::vector<float> before(info.elements()), after(info.elements());
      const TensorInfo& old = *source->find_tensor(info.name);
      dequantize_row(old.format, source->tensor_data(old).data(), int64_t(before.size()), before.data());
      dequantize_row(info.format, file->tensor_data(info).data(), int64_t(after.size()), after.data());
      const double limit = info.format == Format::kF32 ? 0.0 : 0.75;
      EXPECT_LE(testing::relative_l2(after, before), limit) << info.name;
    }
  }
}

TEST_F(QuantizeFile, GivesTheSameBytesForAnyNumberOfThreads) {
  const std::string model = small_model();
  std::vector<std::string> contents;
  for (const int threads : {1, 3}) {
    QuantizeOptions options;
    options.type = "Q3_K_M";
    options.threads = threads;
    ASSERT_TRUE(quantize_file(model, in_folder("out.gguf"), options));
    std::ifstream in(in_folder("out.gguf"), std::ios::binary);
    contents.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  EXPECT_GT(contents[0].size(), 1000u);
  EXPECT_TRUE(contents[0] == contents[1]);
}

TEST_F(QuantizeFile, MayReplaceItsInputAndWarnsOfASecondQuantisation) {
  const std::string model = small_model();
  QuantizeOptions options;
  options.type = "Q8_0";
  ASSERT_TRUE(quantize_file(model, model, options));
  std::vector<std::string> warnings;
  options.on_warning = [&](const std::string& warning) { warnings.push_back(warning); };
  options.type = "Q4_0";
  ASSERT_TRUE(quantize_file(model, model, options));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("quantised already"), std::string::npos);
  EXPECT_EQ(files(), 1u);
}

TEST_F(QuantizeFile, KeepsTheFormatsThatPatternsName) {
  QuantizeOptions options;
  options.keep = {"blk.?.attn_v*=Q8_0", "blk.5.*=F16"};
  ASSERT_TRUE(quantize(small_model(), "Q4_0", options));
  EXPECT_EQ(written("blk.0.attn_v.weight"), Format::kQ8_0);
  EXPECT_EQ(written("blk.5.attn_v.weight"), Format::kF16);
  EXPECT_EQ(written("blk.0.ffn_up.weight"), Format::kQ4_0);
}

TEST_F(QuantizeFile, RefusesWhatCannotBeMeant) {
  const std::string model = small_model();
  EXPECT_NE(error_of(model, "Q9_K").find("Q4_K_M"), std::string::npos);
  QuantizeOptions options;
  options.keep = {"blk.99.*=Q8_0"};
  EXPECT_NE(error_of(model, "Q4_0", options).find("blk.99.*"), std::string::npos);
  options.keep = {"output.weight=Q9"};
  EXPECT_NE(error_of(model, "Q4_0", options).find("PATTERN=FORMAT"), std::string::npos);
}

TEST_F(QuantizeFile, RefusesTypesBelowThreeBitsWithoutImportance) {
  const std::string model = small_model();
  for (const char* type : {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S"})
    EXPECT_NE(error_of(model, type).find("importance matrix"), std::string::npos) << type;
}

TEST_F(QuantizeFile, RefusesTheImportanceOfAnotherModel) {
  QuantizeOptions options;
  options.importance_path = write_importance(128, {"blk.0.attn_v.weight"});
  const std::string message = error_of(small_model(), "Q4_K_M", options);
  EXPECT_NE(message.find("another model"), std::string::npos) << message;
  EXPECT_NE(message.find("blk.0.attn_v.weight"), std::string::npos);
}

TEST_F(QuantizeFile, NamesAWeightThatIsNoNumberAndLeavesNothing) {
  const std::string model = write_model({{"blk.0.ffn_up.weight", {256, 4}}}, NAN);
  const std::string message = error_of(model, "Q4_K_M");
  EXPECT_NE(message.find("weight 44 of row 1"), std::string::npos) << message;
  EXPECT_EQ(files(), 1u);
}

TEST_F(QuantizeFile, LeavesNothingButTheFileFromBeforeWhenItIsStopped) {
  const std::string model = small_model();
  std::ofstream(in_folder("out.gguf")) << "from before";
  QuantizeOptions options;
  size_t seen = 0;
  options.on_tensor = [&](const QuantizeProgress& progress) { seen = progress.tensor; };
  options.cancelled = [&] { return seen >= 3; };
  const auto report = quantize(model, "Q4_K_M", options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(fs::file_size(in_folder("out.gguf")), 11u);
  EXPECT_EQ(files(), 2u);
}

TEST_F(QuantizeFile, LeavesNothingUnderTheNameWhenItIsKilled) {
  const std::string model = small_model();
  for (const bool before : {false, true}) {
    if (before) std::ofstream(in_folder("out.gguf")) << "from before";
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      QuantizeOptions options;
      options.on_tensor = [](const QuantizeProgress& progress) {
        if (progress.tensor == 7) ::raise(SIGKILL);
      };
      (void)quantize(model, "Q4_K_M", options);
      ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    EXPECT_EQ(fs::exists(in_folder("out.gguf")), before);
    if (before) {
      EXPECT_EQ(fs::file_size(in_folder("out.gguf")), 11u);
    }
  }
  EXPECT_TRUE(quantize(model, "Q4_K_M"));  // what a killed run left does not disturb the next
}

#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kSanitizerBytes = int64_t{4} << 20;  // what AddressSanitizer keeps for itself
#else
constexpr int64_t kSanitizerBytes = 0;
#endif

TEST_F(QuantizeFile, HoldsLessThanTwoTensorsInMemory) {
  constexpr int64_t kTensorBytes = 4096 * 1024 * 4;
  std::vector<std::pair<std::string, std::vector<uint64_t>>> tensors;
  for (int i = 0; i < 6; ++i) tensors.push_back({fmt::format("blk.{}.ffn_up.weight", i), {4096, 1024}});
  const std::string model = write_model(tensors);
  for (const char* type : {"Q8_0", "F16"}) {
    std::atomic<int64_t> most{0};
    QuantizeOptions options;
    const auto look = [&] {
      const int64_t now = testing::resident_bytes();
      for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
    };
    options.on_tensor = [&](const QuantizeProgress&) { look(); };
    options.cancelled = [&] { return look(), false; };
    const int64_t before = testing::resident_bytes();
    ASSERT_TRUE(quantize(model, type, options));
    EXPECT_GT(most, before + kTensorBytes / 2) << "the measurement sees nothing";
    EXPECT_LT(most, before + 2 * kTensorBytes + kSanitizerBytes) << type;
  }
}

TEST(Glob, MatchesTheWholeText) {
  EXPECT_TRUE(matches_glob("*", ""));
  EXPECT_TRUE(matches_glob("a*b*c", "a.b.b.c"));
  EXPECT_TRUE(matches_glob("blk.?.x", "blk.7.x"));
  EXPECT_FALSE(matches_glob("blk.?.x", "blk.17.x"));
  EXPECT_FALSE(matches_glob("attn_v", "blk.0.attn_v.weight"));
  EXPECT_FALSE(matches_glob("", "x"));
  EXPECT_TRUE(matches_glob("*v.*", "blk.0.attn_v.weight"));
}

TEST(QuantizeMix, SpendsMoreBitsWhereTheyHelp) {
  MixFacts facts;
  facts.layers = 32;
  facts.has_output = true;
  for (int i = 0; i < 32; ++i) facts.attention_layers.push_back(i);
  const auto format = [&](const char* type, const std::string& name) {
    TensorInfo tensor;
    tensor.name = name;
    tensor.rank = 2;
    tensor.size = {4096, 4096, 1, 1};
    return mix_format(*find_quantize_type(type), facts, tensor);
  };
  // Q4_K_M of a model of 32 layers: more for layers 0-3, 28-31 and 6, 9, ... 27.
  for (const int layer : {0, 3, 6, 9, 27, 28, 31})
    EXPECT_EQ(format("Q4_K_M", fmt::format("blk.{}.ffn_down.weight", layer)), Format::kQ6_K) << layer;
  for (const int layer : {4, 5, 7, 8, 26})
    EXPECT_EQ(format("Q4_K_M", fmt::format("blk.{}.attn_v.weight", layer)), Format::kQ4_K) << layer;
  EXPECT_EQ(format("Q3_K_M", "blk.1.attn_v.weight"), Format::kQ5_K);
  EXPECT_EQ(format("Q3_K_M", "blk.2.attn_v.weight"), Format::kQ4_K);
  EXPECT_EQ(format("Q2_K", "blk.9.attn_v.weight"), Format::kQ3_K);
  EXPECT_EQ(format("IQ2_XXS", "token_embd.weight"), Format::kQ2_K);
  EXPECT_EQ(format("IQ2_XXS", "output.weight"), Format::kQ5_K);
  EXPECT_EQ(format("Q8_0", "output.weight"), Format::kQ8_0);
  facts.heads_per_kv_head = 4;
  EXPECT_EQ(format("Q2_K", "blk.9.attn_v.weight"), Format::kQ4_K);
  facts.experts = 8;
  EXPECT_EQ(format("Q4_K_M", "blk.4.attn_v.weight"), Format::kQ8_0);
  facts.has_output = false;
  EXPECT_EQ(format("Q4_K_M", "token_embd.weight"), Format::kQ6_K);
}

TEST(QuantizeMix, FallsBackWhereRowsAreNoWholeBlocks) {
  EXPECT_EQ(fitting_format(Format::kQ4_K, 512), Format::kQ4_K);
  EXPECT_EQ(fitting_format(Format::kQ4_K, 576), Format::kQ5_0);
  EXPECT_EQ(fitting_format(Format::kQ5_K, 576), Format::kQ5_1);
  EXPECT_EQ(fitting_format(Format::kQ6_K, 576), Format::kQ8_0);
  EXPECT_EQ(fitting_format(Format::kIQ2_XS, 576), Format::kIQ4_NL);
  EXPECT_EQ(fitting_format(Format::kTQ2_0, 576), Format::kQ4_0);
  EXPECT_EQ(fitting_format(Format::kQ8_0, 100), Format::kF16);
}

}  // namespace
}  // namespace metallic

// Conversion of whole folders: tests/data/architectures (see its README.md), and what must be refused.
#include "convert/convert.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "backend/backend.h"
#include "convert/split_file.h"
#include "convert/test_folder.h"
#include "engine/evaluator.h"
#include "model/model.h"
#include "model/vocab_from_gguf.h"
#include "quant/dequantize.h"
#include "support/golden.h"

namespace metallic {
namespace {

using testing::read_array;
using testing::relative_l2;

std::string folder_path(const std::string& name) {
  return std::string(METALLIC_SOURCE_DIR) + "/tests/data/architectures/" + name;
}

std::string convert_error(const std::filesystem::path& folder) {
  const TestFolder out;
  const std::filesystem::path path = out.path() / "out.gguf";
  const auto summary = convert::convert_folder(folder.string(), path.string());
  if (summary) return "converted";
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(summary.error().message.find('\n'), std::string::npos);
  return summary.error().message;
}

// A converted folder of the golden ones.
class Converted {
 public:
  explicit Converted(const std::string& name, std::optional<Format> format = std::nullopt) {
    convert::ConvertOptions options;
    options.format = format;
    options.threads = 2;
    const auto summary = convert::convert_folder(folder_path(name), path(), options);
    EXPECT_TRUE(summary) << summary.error().message;
    auto opened = GgufFile::open(path());
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) file_.emplace(std::move(*opened));
  }
  std::string path() const { return (folder_.path() / "model.gguf").string(); }
  const GgufFile& file() const { return *file_; }

 private:
  TestFolder folder_;
  std::optional<GgufFile> file_;
};

struct ExpectedKey {
  const char* key;
  double value;
};
struct ExpectedTensor {
  const char* name;
  std::array<uint64_t, 4> size;  // the file's order
  Format format = Format::kBF16;
};
struct Folder {
  const char* name;
  const char* arch;
  size_t tensors;
  std::vector<ExpectedKey> keys;
  std::vector<ExpectedTensor> some;
  const char* pre;  // tokenizer.ggml.pre
};

constexpr Format kF32 = Format::kF32, kF16 = Format::kF16, kMXFP4 = Format::kMXFP4;

const Folder kFolders[] = {
    {"llama3",
     "llama",
     30,
     {{"rope.dimension_count", 16}, {"attention.key_length", 16}},
     {{"rope_freqs.weight", {8, 1, 1, 1}, kF32}, {"blk.2.attn_k.weight", {32, 32, 1, 1}}},
     "dbrx"},
    {"llama-linear", "llama", 34, {{"rope.scaling.factor", 4}}, {{"blk.0.attn_q.bias", {64, 1, 1, 1}, kF32}}, "dbrx"},
    {"llama-ntk",
     "llama",
     20,
     {{"rope.scaling.dynamic_factor", 4}, {"context_length", 16}},
     {{"token_embd.weight", {32, 288, 1, 1}, kF32}},
     "default"},
    {"yarn", "qwen2", 26, {{"rope.scaling.factor", 4}, {"rope.scaling.original_context_length", 16}}, {}, "qwen2"},
    {"mistral", "llama", 21, {{"attention.sliding_window", 16}}, {}, "default"},
    {"mixtral",
     "llama",
     23,
     {{"expert_count", 4}, {"expert_used_count", 2}},
     {{"blk.1.ffn_gate_exps.weight", {32, 32, 4, 1}}, {"blk.1.ffn_gate_inp.weight", {32, 4, 1, 1}, kF32}},
     "default"},
    {"smollm3", "smollm3", 38, {{"rope.freq_base", 50000}}, {}, "smollm"},
    {"smollm3-window", "smollm3", 38, {{"attention.sliding_window", 16}}, {}, "smollm"},
    {"granite", "granite", 20, {{"logit_scale", 1.5}, {"embedding_scale", 6}, {"attention.scale", 0.2f}}, {}, "refact"},
    {"granitemoe",
     "granitemoe",
     22,
     {{"residual_scale", 0.4f}},
     {{"blk.0.ffn_up_exps.weight", {32, 32, 4, 1}}},
     "refact"},
    {"olmo2", "olmo2", 25, {}, {{"blk.0.post_ffw_norm.weight", {32, 1, 1, 1}, kF32}}, "dbrx"},
    {"qwen2", "qwen2", 26, {{"attention.head_count_kv", 2}}, {{"token_embd.weight", {64, 280, 1, 1}}}, "qwen2"},
    {"qwen2moe",
     "qwen2moe",
     37,
     {{"expert_feed_forward_length", 32}, {"expert_shared_feed_forward_length", 64}, {"expert_weights_norm", 0}},
     {{"blk.0.ffn_gate_inp_shexp.weight", {32, 1, 1, 1}, kF32}, {"blk.0.ffn_down_exps.weight", {32, 32, 4, 1}}},
     "qwen2"},
    {"qwen3",
     "qwen3",
     24,
     {{"attention.key_length", 16}},
     {{"blk.0.attn_q_norm.weight", {16, 1, 1, 1}, kF32}},
     "qwen2"},
    {"qwen3moe", "qwen3moe", 27, {{"expert_weights_norm", 1}}, {{"blk.1.ffn_up_exps.weight", {32, 32, 4, 1}}}, "qwen2"},
    {"gemma", "gemma", 20, {{"attention.head_count_kv", 1}}, {}, "default"},
    {"gemma2",
     "gemma2",
     35,
     {{"attn_logit_softcapping", 3}, {"final_logit_softcapping", 2.5}, {"attention.sliding_window", 16}},
     {{"blk.0.post_ffw_norm.weight", {32, 1, 1, 1}, kF32}},
     "default"},
    {"gemma3",
     "gemma3",
     93,
     {{"rope.freq_base", 1e6}, {"rope.freq_base_swa", 1e4}, {"rope.scaling.factor", 8}},
     {},
     "default"},
    {"phi3", "phi3", 15, {{"attention.sliding_window", 16}}, {{"blk.0.ffn_up.weight", {32, 128, 1, 1}}}, "default"},
    {"phi3-longrope",
     "phi3",
     16,
     {{"rope.dimension_count", 12}, {"rope.scaling.attn_factor", 1.224744871}},
     {{"rope_factors_long.weight", {6, 1, 1, 1}, kF32}, {"rope_factors_short.weight", {6, 1, 1, 1}, kF32}},
     "gpt-4o"},
    {"gpt2",
     "gpt2",
     28,
     {{"feed_forward_length", 128}},
     {{"blk.0.attn_qkv.weight", {32, 96, 1, 1}, kF32}, {"position_embd.weight", {32, 48, 1, 1}, kF32}},
     "gpt-2"},
    {"gptneox",
     "gptneox",
     28,
     {{"use_parallel_residual", 1}, {"rope.dimension_count", 4}},
     {{"blk.0.attn_qkv.weight", {32, 96, 1, 1}, kF16}},
     "gpt-2"},
    {"gptneox-sequential", "gptneox", 28, {{"use_parallel_residual", 0}, {"rope.dimension_count", 2}}, {}, "gpt-2"},
    {"starcoder2",
     "starcoder2",
     35,
     {{"attention.sliding_window", 16}},
     {{"blk.0.ffn_up.bias", {64, 1, 1, 1}, kF32}},
     "starcoder"},
    {"stablelm", "stablelm", 32, {{"rope.dimension_count", 4}, {"use_parallel_residual", 0}}, {}, "gpt-2"},
    {"stablelm-parallel",
     "stablelm",
     26,
     {{"use_parallel_residual", 1}},
     {{"blk.0.attn_q_norm.weight", {16, 2, 1, 1}, kF32}},
     "gpt-2"},
    {"command-r", "command-r", 18, {{"logit_scale", 0.4f}}, {}, "command-r"},
    {"command-r-qk-norm", "command-r", 22, {}, {{"blk.0.attn_q_norm.weight", {8, 4, 1, 1}, kF32}}, "command-r"},
    {"cohere2", "cohere2", 34, {{"logit_scale", 0.4f}, {"attention.sliding_window", 16}}, {}, "command-r"},
    {"cohere2-layers", "cohere2", 26, {{"attention.sliding_window", 16}}, {}, "command-r"},
    {"glm4", "glm4", 29, {{"rope.dimension_count", 8}}, {{"blk.0.ffn_up.weight", {32, 128, 1, 1}}}, "glm4"},
    {"deepseek2-lite",
     "deepseek2",
     29,
     {{"attention.key_length", 40},
      {"attention.key_length_mla", 24},
      {"expert_gating_func", 1},
      {"expert_group_count", 1},
      {"leading_dense_block_count", 1},
      {"attention.head_count_kv", 1}},
     {{"blk.0.attn_k_b.weight", {16, 32, 4, 1}}, {"blk.0.attn_v_b.weight", {32, 16, 4, 1}}},
     "deepseek-v3"},
    {"deepseek3",
     "deepseek2",
     34,
     {{"expert_gating_func", 2}, {"expert_group_count", 4}, {"expert_weights_scale", 2.5}},
     {{"blk.1.exp_probs_b.bias", {8, 1, 1, 1}, kF32}, {"blk.1.ffn_gate_exps.weight", {32, 32, 8, 1}}},
     "deepseek-v3"},
    {"gpt-oss",
     "gpt-oss",
     41,
     {{"rope.scaling.yarn_truncate", 0}, {"attention.sliding_window", 16}},
     {{"blk.0.attn_sinks.weight", {4, 1, 1, 1}, kF32}, {"blk.0.ffn_gate_exps.bias", {64, 4, 1, 1}, kF32}},
     "gpt-4o"},
    {"gpt-oss-mxfp4", "gpt-oss", 41, {}, {{"blk.0.ffn_gate_exps.weight", {32, 64, 4, 1}, kMXFP4}}, "gpt-4o"},
    {"bert", "bert", 37, {{"attention.causal", 0}}, {{"token_types.weight", {32, 2, 1, 1}, kF32}}, "bert-bge"},
    {"xlm-roberta",
     "bert",
     37,
     {{"attention.causal", 0}, {"context_length", 128}, {"attention.layer_norm_epsilon", 1e-5f}},
     {{"position_embd.weight", {32, 128, 1, 1}, kF32}, {"token_types.weight", {32, 1, 1, 1}, kF32}},
     "default"},
    {"nomic-bert",
     "nomic-bert",
     22,
     {{"rope.freq_base", 1000}},
     {{"blk.0.attn_qkv.weight", {32, 96, 1, 1}}},
     "bert-bge"},
    {"nomic-bert-moe",
     "nomic-bert-moe",
     50,
     {{"moe_every_n_layers", 2}, {"expert_count", 4}, {"expert_used_count", 2}, {"context_length", 512}},
     {{"blk.1.ffn_down_exps.weight", {64, 32, 4, 1}}},
     "default"},
    {"jina-bert",
     "jina-bert-v2",
     36,
     {{"context_length", 8192}},
     {{"blk.0.ffn_up.weight", {32, 64, 1, 1}}},
     "bert-bge"},
    {"jina-bert-code",
     "jina-bert-v2",
     48,
     {},
     {{"blk.0.attn_q_norm.bias", {48, 1, 1, 1}, kF32}, {"blk.0.attn_norm_2.weight", {48, 1, 1, 1}, kF32}},
     "bert-bge"},
    {"modernbert",
     "modern-bert",
     26,
     {{"rope.freq_base", 160000}, {"rope.freq_base_swa", 1e4}, {"attention.sliding_window_pattern", 3}},
     {{"blk.0.ffn_up.weight", {32, 128, 1, 1}}},
     "bert-bge"},
};

void PrintTo(const Folder& folder, std::ostream* out) { *out << folder.name; }

class EveryArchitecture : public ::testing::TestWithParam<Folder> {};

TEST_P(EveryArchitecture, HasTheKeysAndTensorsOfTheTable) {
  const Folder& folder = GetParam();
  const Converted converted(folder.name);
  const GgufFile& file = converted.file();
  EXPECT_EQ(*file.get_string("general.architecture"), folder.arch);
  EXPECT_EQ(*file.get_string("general.name"), folder.name);
  EXPECT_EQ(file.tensors().size(), folder.tensors);
  for (const ExpectedKey& expected : folder.keys) {
    const MetadataValue* value = file.find(std::string(folder.arch) + "." + expected.key);
    ASSERT_NE(value, nullptr) << expected.key;
    const double number = value->as_bool() ? double(*value->as_bool()) : value->as_number().value_or(-1);
    EXPECT_NEAR(number, expected.value, 1e-6 * std::abs(expected.value)) << expected.key;
  }
  for (const ExpectedTensor& expected : folder.some) {
    const TensorInfo* info = file.find_tensor(expected.name);
    ASSERT_NE(info, nullptr) << expected.name;
    EXPECT_EQ(info->size, expected.size) << expected.name;
    EXPECT_EQ(info->format, expected.format) << expected.name << " is " << format_info(info->format).name;
  }
}

// The converted vocabulary gives the ids of the tokenizers package.
TEST_P(EveryArchitecture, TokenisesAsTheFolderDoes) {
  const Folder& folder = GetParam();
  const Converted converted(folder.name);
  EXPECT_EQ(*converted.file().get_string("tokenizer.ggml.pre"), folder.pre);
  EXPECT_EQ(converted.file().get_array("tokenizer.ggml.tokens").value()->size(),
            converted.file().find_tensor("token_embd.weight")->size[1]);
  const auto vocab = vocab_from_gguf(converted.file());
  ASSERT_TRUE(vocab) << vocab.error().message;
  const auto tokenizer = Tokenizer::create(*vocab);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto golden = nlohmann::json::parse(std::ifstream(folder_path(folder.name) + "/encodings.json"));
  for (const auto& encoding : golden) {
    const auto ids = tokenizer->encode(encoding["text"].get<std::string>());
    ASSERT_TRUE(ids) << ids.error().message;
    EXPECT_EQ(*ids, encoding["ids"].get<std::vector<TokenId>>()) << encoding["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, EveryArchitecture, ::testing::ValuesIn(kFolders), [](const auto& parameter) {
  std::string name = parameter.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Convert, WritesTheTypeAskedForAndKeepsVectorsExact) {
  for (const Format format : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0}) {
    const Converted converted("qwen2", format);
    EXPECT_EQ(converted.file().find_tensor("blk.0.ffn_up.weight")->format, format);
    EXPECT_EQ(converted.file().find_tensor("blk.0.attn_norm.weight")->format, Format::kF32);
    EXPECT_EQ(converted.file().find_tensor("blk.0.attn_q.bias")->format, Format::kF32);
  }
}

// Both forms of the same experts hold the same numbers: the packing and the order of gate and up agree.
std::vector<float> logits(const std::string& path) {
  auto model = Model::load(path, *open_backend("reference", 1));
  EXPECT_TRUE(model) << (model ? "" : model.error().message);
  if (!model) return {};
  auto evaluator = Evaluator::create(*model, 8, 8, Format::kF32);
  EXPECT_TRUE(evaluator);
  const std::array<TokenId, 5> tokens = {1, 20, 40, 60, 80};
  const std::array<int32_t, 1> last = {4};
  std::vector<float> result;
  EXPECT_TRUE((*evaluator)->feed(tokens, last, result));
  return result;
}

// As the first converters wrote Mixtral: blk.0.ffn_gate.3.weight.
TEST(OldFiles, ExpertsInTensorsOfTheirOwnAreTheSameModel) {
  const Converted now("mixtral");
  const testing::ChangedFile old(now.path(), [](GgufWriter&, auto& tensors) {
    auto whole = std::exchange(tensors, {});
    for (auto& tensor : whole) {
      const size_t at = tensor.name.find("_exps.weight");
      if (at == std::string::npos) {
        tensors.push_back(tensor);
        continue;
      }
      const size_t count = size_t(tensor.size[2]), bytes = tensor.data.size() / count;
      for (size_t i = 0; i < count; ++i) {
        auto one = tensor;
        one.name = tensor.name.substr(0, at) + "." + std::to_string(i) + ".weight";
        one.size.resize(2);
        one.data.assign(tensor.data.begin() + ptrdiff_t(i * bytes), tensor.data.begin() + ptrdiff_t((i + 1) * bytes));
        tensors.push_back(std::move(one));
      }
    }
  });
  EXPECT_EQ(logits(old.path()), logits(now.path()));
}

TEST(Convert, Mxfp4ExpertsAreThePlainOnes) {
  const Converted plain("gpt-oss", Format::kF32), packed("gpt-oss-mxfp4");
  for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight"}) {
    const TensorInfo *a = plain.file().find_tensor(name), *b = packed.file().find_tensor(name);
    ASSERT_TRUE(a != nullptr && b != nullptr);
    ASSERT_EQ(a->size, b->size);
    std::vector<float> numbers(a->elements()), decoded(b->elements());
    dequantize_row(a->format, plain.file().tensor_data(*a).data(), int64_t(numbers.size()), numbers.data());
    dequantize_row(b->format, packed.file().tensor_data(*b).data(), int64_t(decoded.size()), decoded.data());
    EXPECT_EQ(numbers, decoded) << name;
  }
}

// A copy of a golden folder to break.
class Broken : public ::testing::Test {
 protected:
  std::filesystem::path copy(const std::string& name) {
    std::filesystem::copy(folder_path(name), folder_.path() / name);
    return folder_.path() / name;
  }
  void edit(const std::filesystem::path& path, const std::string& from, const std::string& to) {
    std::ifstream in(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::ofstream(path, std::ios::binary) << text;
  }
  TestFolder folder_;
};

TEST_F(Broken, AMissingShardIsNamed) {
  const auto folder = copy("qwen3moe");
  std::filesystem::remove(folder / "model-00002-of-00003.safetensors");
  EXPECT_NE(convert_error(folder).find("the shard model-00002-of-00003.safetensors is missing"), std::string::npos);
}

TEST_F(Broken, ATensorThatTheIndexListsAndNoShardHasIsNamed) {
  const auto folder = copy("qwen3moe");
  edit(folder / "model.safetensors.index.json", "\"model.norm.weight\"", "\"model.form.weight\"");
  EXPECT_NE(convert_error(folder).find("the tensor model.form.weight is missing"), std::string::npos);
}

TEST_F(Broken, AMissingTensorIsNamedByItsHuggingFaceName) {
  const auto folder = copy("qwen3");
  edit(folder / "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
  const std::string message = convert_error(folder);
  EXPECT_NE(message.find("layers.2.input_layernorm is missing from the checkpoint; it becomes blk.2.attn_norm.weight"),
            std::string::npos)
      << message;
}

TEST_F(Broken, ATensorOfABlockThatDoesNotExistIsNamed) {
  const auto folder = copy("qwen3");
  edit(folder / "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
  EXPECT_NE(convert_error(folder).find("is of block 1; config.json says that there are 1"), std::string::npos);
}

TEST_F(Broken, AShapeThatConfigJsonContradictsIsNamedWithBoth) {
  const auto folder = copy("qwen3");
  edit(folder / "config.json", "\"intermediate_size\": 64", "\"intermediate_size\": 96");
  const std::string message = convert_error(folder);
  EXPECT_NE(message.find("has the shape [32, 64]; config.json asks for [32, 96]"), std::string::npos) << message;
}

TEST_F(Broken, AnUnknownTensorIsRefused) {
  const auto folder = copy("qwen3");
  edit(folder / "model.safetensors", "model.norm.weight", "model.form.weight");
  EXPECT_NE(convert_error(folder).find("model.form.weight has no place"), std::string::npos);
}

TEST_F(Broken, AnUnknownArchitectureListsTheKnownOnes) {
  const auto folder = copy("qwen3");
  edit(folder / "config.json", "Qwen3ForCausalLM", "Qwen9ForCausalLM");
  const std::string message = convert_error(folder);
  for (const char* part : {"'Qwen9ForCausalLM'", "LlamaForCausalLM", "Qwen3ForCausalLM"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST_F(Broken, AFolderWithoutItsFilesSaysWhichIsMissing) {
  const auto folder = copy("qwen3");
  std::filesystem::remove(folder / "tokenizer.json");
  EXPECT_NE(convert_error(folder).find("neither tokenizer.json nor tokenizer.model"), std::string::npos);
  std::filesystem::remove(folder / "model.safetensors");
  EXPECT_NE(convert_error(folder).find("model.safetensors"), std::string::npos);
  std::filesystem::remove(folder / "config.json");
  EXPECT_NE(convert_error(folder).find("config.json"), std::string::npos);
}

TEST_F(Broken, AShardThatShrinksMeanwhileIsNamedAndLeavesNoFile) {
  const auto folder = copy("qwen3");
  const std::string shard = (folder / "model.safetensors").string(), output = (folder_.path() / "out.gguf").string();
  convert::ConvertOptions options;
  options.progress = [&](const convert::ConvertOptions::Progress& progress) {
    if (progress.tensor == 1) {
      EXPECT_EQ(::truncate(shard.c_str(), 8192), 0);
    }
  };
  const auto summary = convert::convert_folder(folder.string(), output, options);
  ASSERT_FALSE(summary);
  EXPECT_NE(summary.error().message.find(shard + ": at byte 8192: the file was cut short"), std::string::npos)
      << summary.error().message;
  EXPECT_FALSE(std::filesystem::exists(output));
}

// Every number of config.json replaced by a senseless one: an error or a file, never a crash.
// Released files leave out what equals the defaults of transformers' configuration classes.
TEST_F(Broken, KeysThatConfigJsonLacksHaveTheDefaultsOfTransformers) {
  const auto folder = copy("gemma3");
  auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  ASSERT_EQ(config.at("rms_norm_eps"), 1e-6);
  for (const char* key : {"rms_norm_eps", "query_pre_attn_scalar", "tie_word_embeddings"}) config.erase(key);
  std::ofstream(folder / "config.json") << config;
  const TestFolder out;
  const std::string path = (out.path() / "out.gguf").string();
  const auto summary = convert::convert_folder(folder.string(), path);
  ASSERT_TRUE(summary) << summary.error().message;
  const auto file = GgufFile::open(path);
  EXPECT_EQ(float(*file->get_number_or("gemma3.attention.layer_norm_rms_epsilon", 0)), 1e-6f);
  EXPECT_EQ(float(*file->get_number_or("gemma3.attention.scale", 0)), 1.0f / 16);
}

// X.weight in 8-bit floats with X.weight_scale_inv: the published form of DeepSeek-V3 and Qwen3-FP8.
TEST_F(Broken, BlocksOfEightBitFloatsAreMultipliedByTheirScales) {
  const auto folder = copy("qwen2");
  const std::string name = "model.layers.0.self_attn.o_proj.weight";  // 64 x 64
  auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {48, 40}}};
  std::ofstream(folder / "config.json") << config;
  std::ifstream in(folder / "model.safetensors", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  auto header = nlohmann::json::parse(bytes.substr(8, length));
  std::string data = bytes.substr(8 + length), rest;
  ASSERT_EQ(header[name]["shape"], nlohmann::json({64, 64}));
  // Its elements become 8-bit floats: 1 (0x38) in even and -2 (0xc0) in odd columns. The tensors behind it move up.
  nlohmann::json rewritten;
  for (auto& [tensor, info] : header.items()) {
    if (tensor == "__metadata__") continue;
    const auto begin = info["data_offsets"][0].get<size_t>(), end = info["data_offsets"][1].get<size_t>();
    const size_t at = rest.size();
    if (tensor == name) {
      for (int i = 0; i < 64 * 64; ++i) rest += i % 2 == 0 ? '\x38' : '\xc0';
      info["dtype"] = "F8_E4M3";
    } else {
      rest += data.substr(begin, end - begin);
    }
    info["data_offsets"] = {at, rest.size()};
    rewritten[tensor] = info;
  }
  rest.append((4 - rest.size() % 4) % 4, '\0');
  const std::array<float, 4> scales = {0.5f, 3.0f, 0.25f, 8.0f};  // (2, 2)
  rewritten[name + "_scale_inv"] = {
      {"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {rest.size(), rest.size() + sizeof(scales)}}};
  rest.append(reinterpret_cast<const char*>(scales.data()), sizeof(scales));
  const auto write = [&] {
    const std::string text = rewritten.dump();
    length = text.size();
    std::ofstream out(folder / "model.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text << rest;
  };
  write();
  const TestFolder out;
  const std::string path = (out.path() / "out.gguf").string();
  convert::ConvertOptions options;
  options.format = Format::kF32;
  const auto summary = convert::convert_folder(folder.string(), path, options);
  ASSERT_TRUE(summary) << summary.error().message;
  const auto file = GgufFile::open(path);
  const auto converted = file->tensor_data(*file->find_tensor("blk.0.attn_output.weight"));
  std::vector<float> values(64 * 64);
  std::memcpy(values.data(), converted.data(), converted.size());
  for (size_t row = 0; row < 64; ++row)
    for (size_t column = 0; column < 64; ++column)
      ASSERT_EQ(values[row * 64 + column], (column % 2 == 0 ? 1.0f : -2.0f) * scales[row / 48 * 2 + column / 40])
          << row << ' ' << column;

  rewritten[name + "_scale_inv"]["shape"] = {4, 1};
  write();
  EXPECT_NE(convert_error(folder).find("scale"), std::string::npos);
  config["quantization_config"] = {{"quant_method", "gptq"}};
  std::ofstream(folder / "config.json") << config;
  EXPECT_NE(convert_error(folder).find("'gptq'"), std::string::npos);
}

TEST_F(Broken, WhatGgufCannotSayIsRefusedByName) {
  const auto with = [&](const char* name, const char* key, const nlohmann::json& value, const char* named) {
    const auto folder = copy(name);
    auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
    config[key] = value;
    std::ofstream(folder / "config.json") << config;
    const std::string message = convert_error(folder);
    EXPECT_NE(message.find(named), std::string::npos) << message;
    std::filesystem::remove_all(folder);
  };
  with("gpt2", "scale_attn_by_inverse_layer_idx", true, "scale_attn_by_inverse_layer_idx");
  with("gpt2", "scale_attn_weights", false, "scale_attn_weights");
  with("bert", "position_embedding_type", "relative_key", "position_embedding_type");
  with("bert", "is_decoder", true, "is_decoder");
  with("jina-bert", "feed_forward_type", "reglu", "feed_forward_type is 'reglu'");
  with("jina-bert", "position_embedding_type", "absolute", "position_embedding_type is 'absolute'");
  with("nomic-bert-moe", "moe_normalize_expert_weights", true, "moe_normalize_expert_weights");
  with("nomic-bert-moe", "num_shared_experts", 1, "num_shared_experts");
  with("stablelm", "partial_rotary_factor", 7.0, "partial_rotary_factor");
  with("granite", "attention_multiplier", 1e300, "granite.attention.scale");
}

TEST_F(Broken, SenselessNumbersInConfigJsonAreErrors) {
  for (const char* name : {"llama3", "deepseek3", "gpt-oss-mxfp4", "stablelm-parallel", "gptneox", "phi3-longrope"}) {
    const auto folder = copy(name);
    const auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
    for (const auto& [key, value] : config.items()) {
      if (!value.is_number()) continue;
      for (const nlohmann::json& bad : {nlohmann::json(0), nlohmann::json(-1), nlohmann::json(7),
                                        nlohmann::json(2147483647), nlohmann::json(1e300)}) {
        auto changed = config;
        changed[key] = bad;
        std::ofstream(folder / "config.json") << changed.dump();
        EXPECT_FALSE(convert_error(folder).empty());
      }
    }
  }
}

TEST(Split, AndMergeGiveTheSameTensorsAndMetadata) {
  const Converted converted("qwen3moe");
  const TestFolder out;
  for (const convert::SplitLimits limits : {convert::SplitLimits{0, 5}, {20000, 0}, {1, 0}, {1 << 30, 100}}) {
    const auto parts = convert::split_gguf(converted.path(), (out.path() / "part").string(), limits);
    ASSERT_TRUE(parts) << parts.error().message;
    if (limits.max_tensors == 5) {
      EXPECT_EQ(parts->size(), 6u);
    }
    if (limits.max_bytes == 1) {
      EXPECT_EQ(parts->size(), converted.file().tensors().size());
    }
    const std::string merged_path = (out.path() / "merged.gguf").string();
    const Status status = convert::merge_gguf(parts->back(), merged_path);
    ASSERT_TRUE(status) << status.error().message;
    std::ifstream a(converted.path(), std::ios::binary), b(merged_path, std::ios::binary);
    const std::string original((std::istreambuf_iterator<char>(a)), {}),
        merged((std::istreambuf_iterator<char>(b)), {});
    EXPECT_EQ(original, merged);
    for (const std::string& part : *parts) std::filesystem::remove(part);
  }
  const Status whole = convert::merge_gguf(converted.path(), (out.path() / "x.gguf").string());
  ASSERT_FALSE(whole);
  EXPECT_NE(whole.error().message.find("no part of a split model"), std::string::npos);
}

}  // namespace
}  // namespace metallic

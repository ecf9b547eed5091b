#include "model/random_model.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "base/available_memory.h"
#include "base/error.h"
#include "base/printable.h"
#include "quant/quantize.h"

namespace metallic {
namespace {

constexpr int kContextLength = 32768;
constexpr float kDeviation = 0.02f;  // of the weights: small enough that no activation overflows

struct Tensor {
  std::string name;
  Format format;
  std::vector<uint64_t> size;
};

// All tensors of a model, in the formats that its type gives them.
class TensorList {
 public:
  explicit TensorList(const RandomModelSpec& spec) : spec_(spec) {
    const ModelShape& shape = spec.shape;
    facts_.layers = shape.layers;
    facts_.experts = shape.experts;
    facts_.heads_per_kv_head = shape.heads / shape.kv_heads;
    facts_.has_output = shape.own_head;
    facts_.attention_layers.resize(size_t(shape.layers));
    std::iota(facts_.attention_layers.begin(), facts_.attention_layers.end(), 0);
    matrix("token_embd.weight", shape.width, shape.vocab);
    if (shape.own_head) matrix("output.weight", shape.width, shape.vocab);
    vector("output_norm.weight", shape.width);
    for (int layer = 0; layer < shape.layers; ++layer) add_layer(layer);
  }

  std::vector<Tensor> take() { return std::move(tensors_); }

 private:
  void vector(const std::string& name, int size) { tensors_.push_back({name, Format::kF32, {uint64_t(size)}}); }

  void matrix(const std::string& name, int columns, int rows, int count = 1) {
    TensorInfo info;
    info.name = name;
    info.rank = count > 1 ? 3 : 2;
    info.size = {uint64_t(columns), uint64_t(rows), uint64_t(count), 1};
    const Format format =
        is_quantized(info) ? fitting_format(mix_format(spec_.type, facts_, info), uint64_t(columns)) : Format::kF32;
    tensors_.push_back({name, format, {info.size.begin(), info.size.begin() + info.rank}});
  }

  void add_layer(int layer) {
    const ModelShape& shape = spec_.shape;
    const std::string prefix = fmt::format("blk.{}.", layer);
    vector(prefix + "attn_norm.weight", shape.width);
    if (shape.latent_rank > 0) {
      add_latent_attention(prefix);
    } else {
      add_attention(prefix);
    }
    vector(prefix + "ffn_norm.weight", shape.width);
    if (shape.experts == 0 || layer < shape.dense_layers) {
      add_gated(prefix, "", shape.ff_width);
      return;
    }
    matrix(prefix + "ffn_gate_inp.weight", shape.width, shape.experts);
    add_gated(prefix, "_exps", shape.expert_width, shape.experts);
    if (shape.shared_experts > 0) add_gated(prefix, "_shexp", shape.expert_width * shape.shared_experts);
  }

  void add_attention(const std::string& prefix) {
    const ModelShape& shape = spec_.shape;
    const int query = shape.heads * shape.head_dim, key = shape.kv_heads * shape.head_dim;
    matrix(prefix + "attn_q.weight", shape.width, query);
    matrix(prefix + "attn_k.weight", shape.width, key);
    matrix(prefix + "attn_v.weight", shape.width, key);
    matrix(prefix + "attn_output.weight", query, shape.width);
    if (shape.has_biases()) {
      vector(prefix + "attn_q.bias", query);
      vector(prefix + "attn_k.bias", key);
      vector(prefix + "attn_v.bias", key);
    }
    if (shape.has_head_norms()) {
      vector(prefix + "attn_q_norm.weight", shape.head_dim);
      vector(prefix + "attn_k_norm.weight", shape.head_dim);
    }
  }

  void add_latent_attention(const std::string& prefix) {
    const ModelShape& shape = spec_.shape;
    matrix(prefix + "attn_q_a.weight", shape.width, shape.query_rank);
    vector(prefix + "attn_q_a_norm.weight", shape.query_rank);
    matrix(prefix + "attn_q_b.weight", shape.query_rank, shape.heads * (shape.nope_dim + shape.rope_dims));
    matrix(prefix + "attn_kv_a_mqa.weight", shape.width, shape.latent_rank + shape.rope_dims);
    vector(prefix + "attn_kv_a_norm.weight", shape.latent_rank);
    matrix(prefix + "attn_k_b.weight", shape.nope_dim, shape.latent_rank, shape.heads);
    matrix(prefix + "attn_v_b.weight", shape.latent_rank, shape.value_dim, shape.heads);
    matrix(prefix + "attn_output.weight", shape.heads * shape.value_dim, shape.width);
  }

  // Gate, up and down, of each of `count` experts or of one part for all.
  void add_gated(const std::string& prefix, const char* suffix, int inner, int count = 1) {
    const int width = spec_.shape.width;
    matrix(fmt::format("{}ffn_gate{}.weight", prefix, suffix), width, inner, count);
    matrix(fmt::format("{}ffn_up{}.weight", prefix, suffix), width, inner, count);
    matrix(fmt::format("{}ffn_down{}.weight", prefix, suffix), inner, width, count);
  }

  const RandomModelSpec& spec_;
  MixFacts facts_;
  std::vector<Tensor> tensors_;
};

GgufWriter writer_with_metadata(const RandomModelSpec& spec) {
  const ModelShape& shape = spec.shape;
  GgufWriter writer;
  writer.set_string("general.architecture", shape.architecture);
  writer.set_string("general.name", spec.name() + " with random weights");
  writer.set_unsigned("general.file_type", uint32_t(spec.type.id));
  const auto set = [&](std::string_view key, int value) {
    writer.set_unsigned(fmt::format("{}.{}", shape.architecture, key), uint32_t(value));
  };
  set("block_count", shape.layers);
  set("context_length", kContextLength);
  set("embedding_length", shape.width);
  set("feed_forward_length", shape.ff_width);
  set("attention.head_count", shape.heads);
  set("attention.head_count_kv", shape.kv_heads);
  set("attention.key_length", shape.head_dim);
  if (shape.latent_rank > 0) {
    set("attention.value_length", shape.latent_rank);
    set("attention.key_length_mla", shape.nope_dim + shape.rope_dims);
    set("attention.value_length_mla", shape.value_dim);
    set("attention.kv_lora_rank", shape.latent_rank);
    set("attention.q_lora_rank", shape.query_rank);
    set("rope.dimension_count", shape.rope_dims);
  } else {
    set("attention.value_length", shape.head_dim);
    set("rope.dimension_count", shape.head_dim);
  }
  set("vocab_size", shape.vocab);
  if (shape.experts > 0) {
    set("expert_count", shape.experts);
    set("expert_used_count", shape.experts_used);
    set("expert_feed_forward_length", shape.expert_width);
  }
  writer.set_float(fmt::format("{}.rope.freq_base", shape.architecture), shape.rope_base);
  writer.set_float(fmt::format("{}.attention.layer_norm_rms_epsilon", shape.architecture), 1e-6f);
  writer.set_string("tokenizer.ggml.model", "no_vocab");
  return writer;
}

// Random weights, encoded; as many of them as keep a processor's caches and branch predictors from learning them.
class RandomWeights {
 public:
  // The bytes of a tensor, valid until the next call.
  std::span<const std::byte> fill(Format format, bool is_vector, uint64_t bytes) {
    if (is_vector) return ones(bytes);
    const std::vector<std::byte>& some = pool(format);
    bytes_.resize(size_t(bytes));
    // Each copy begins at another block, so that no two rows side by side are alike.
    const size_t block = size_t(format_info(format).block_bytes);
    size_t at = 0;
    for (size_t turn = 0; at < bytes_.size(); ++turn) {
      const size_t from = turn * 7 * block % some.size();
      const size_t count = std::min(some.size() - from, bytes_.size() - at);
      std::memcpy(bytes_.data() + at, some.data() + from, count);
      at += count;
    }
    return bytes_;
  }

 private:
  static constexpr int64_t kColumns = 256, kRows = 1024;

  std::span<const std::byte> ones(uint64_t bytes) {
    const std::vector<float> values(size_t(bytes) / sizeof(float), 1.0f);
    bytes_.resize(size_t(bytes));
    std::memcpy(bytes_.data(), values.data(), bytes_.size());
    return bytes_;
  }

  const std::vector<std::byte>& pool(Format format) {
    std::vector<std::byte>& encoded = pools_[format];
    if (!encoded.empty()) return encoded;
    if (weights_.empty()) {
      std::mt19937 random(1);
      std::normal_distribution<float> normal(0, kDeviation);
      weights_.resize(size_t(kColumns * kRows));
      for (float& weight : weights_) weight = normal(random);
    }
    encoded.resize(size_t(*format_bytes(format, uint64_t(kColumns * kRows))));
    quantize_rows(format, weights_.data(), kRows, kColumns, nullptr, encoded.data());
    return encoded;
  }

  std::vector<float> weights_;
  std::map<Format, std::vector<std::byte>> pools_;
  std::vector<std::byte> bytes_;
};

Status check_fit(const RandomModelSpec& spec, uint64_t bytes, int copies) {
  const uint64_t available = available_memory();
  const uint64_t needed = bytes * uint64_t(copies + 1) + (uint64_t{1} << 30);  // the caches and activations
  if (available == 0 || needed <= available) return {};
  const bool half_fits = copies > 0 && needed - bytes <= available;
  const char* hint =
      half_fits ? "take a smaller shape or type, or --no-repack, which copies nothing" : "take a smaller shape or type";
  return fail(ErrorCode::kOutOfMemory,
              "{}: its weights are {:.1f} GB and measuring needs {:.1f} GB, but only {:.1f} GB of memory are free; {}",
              spec.name(), double(bytes) / 1e9, double(needed) / 1e9, double(available) / 1e9, hint);
}

}  // namespace

Result<RandomModelSpec> RandomModelSpec::parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    return fail(ErrorCode::kInvalidArgument, "'{}' is no SHAPE:TYPE; write it like llama3.1-8b:q4_k_m",
                printable(text));
  METALLIC_ASSIGN(const ModelShape shape, find_model_shape(text.substr(0, colon)));
  METALLIC_ASSIGN(const QuantizeType type, find_quantize_type(text.substr(colon + 1)));
  return RandomModelSpec{shape, type};
}

std::string RandomModelSpec::name() const {
  std::string text = fmt::format("{}:{}", shape.name, type.name);
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return text;
}

Result<GgufWriter> random_model_layout(const RandomModelSpec& spec, uint64_t& bytes) {
  GgufWriter writer = writer_with_metadata(spec);
  bytes = 0;
  for (const Tensor& tensor : TensorList(spec).take()) {
    METALLIC_TRY(writer.add_tensor(tensor.name, tensor.format, tensor.size));
    uint64_t elements = 1;
    for (const uint64_t each : tensor.size) elements *= each;
    bytes += *format_bytes(tensor.format, elements);
  }
  return writer;
}

Result<MemoryFile> MemoryFile::create(const RandomModelSpec& spec) {
  MemoryFile file(::memfd_create("random-model", MFD_CLOEXEC));
  if (file.descriptor_ >= 0) return file;
  return fail(ErrorCode::kIo, "{}: cannot make a file in memory: {}", spec.name(), std::strerror(errno));
}

Result<MemoryFile> MemoryFile::of_layout(const RandomModelSpec& spec) {
  uint64_t bytes = 0;
  METALLIC_ASSIGN(const GgufWriter writer, random_model_layout(spec, bytes));
  METALLIC_ASSIGN(MemoryFile file, create(spec));
  METALLIC_TRY(writer.write_hollow(file.descriptor_, spec.name()));
  return file;
}

Result<MemoryFile> MemoryFile::of_random_model(const RandomModelSpec& spec, int copies) {
  uint64_t bytes = 0;
  METALLIC_ASSIGN(const GgufWriter writer, random_model_layout(spec, bytes));
  METALLIC_TRY(check_fit(spec, bytes, copies));
  METALLIC_ASSIGN(MemoryFile file, create(spec));
  const std::vector<Tensor> tensors = TensorList(spec).take();
  RandomWeights weights;
  METALLIC_TRY(writer.write(file.descriptor_, spec.name(),
                            [&](size_t index, uint64_t wanted) -> Result<std::span<const std::byte>> {
                              return weights.fill(tensors[index].format, tensors[index].size.size() == 1, wanted);
                            }));
  return file;
}

MemoryFile::MemoryFile(MemoryFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

MemoryFile::~MemoryFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string MemoryFile::path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

}  // namespace metallic

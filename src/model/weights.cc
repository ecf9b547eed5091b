#include "model/weights.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

// "(576, 49152)": sizes in the file's order, the first varies fastest.
std::string size_text(const uint64_t* size, int rank) {
  return fmt::format("({})", fmt::join(size, size + rank, ", "));
}

}  // namespace

Result<const TensorInfo*> TensorLoader::find(const std::string& name, std::initializer_list<int64_t> size) {
  const TensorInfo* info = file_->find_tensor(name);
  std::array<uint64_t, 4> wanted = {1, 1, 1, 1};
  std::copy(size.begin(), size.end(), wanted.begin());
  const std::string wanted_text = size_text(wanted.data(), int(size.size()));
  if (info == nullptr)
    return fail(ErrorCode::kNotFound,
                "{}: the tensor {} of size {} is missing; the file is incomplete or of another architecture",
                file_->path(), name, wanted_text);
  if (info->size != wanted)
    return fail(ErrorCode::kCorrupt, "{}: the tensor {} has size {}; the metadata ask for {}", file_->path(), name,
                size_text(info->size.data(), info->rank), wanted_text);
  if (dequantize_function(info->format) == nullptr)
    return fail(ErrorCode::kUnsupported, "{}: the tensor {} has the type {}, which cannot hold weights", file_->path(),
                name, format_info(info->format).name);
  used_.insert(name);
  return info;
}

Result<Weight> TensorLoader::matrix(const std::string& name, int64_t rows, int64_t columns) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {columns, rows}));
  void* data = const_cast<std::byte*>(file_->tensor_data(*info).data());  // never written: a Weight is only read
  return backend_.load_weight(TensorView::dense(data, info->format, {rows, columns}), file_);
}

Result<std::vector<float>> TensorLoader::host_vector(const std::string& name, int64_t size) {
  METALLIC_ASSIGN(const TensorInfo* info, find(name, {size}));
  std::vector<float> values(static_cast<size_t>(size));
  dequantize_function(info->format)(file_->tensor_data(*info).data(), size, values.data());
  return values;
}

Result<DeviceVector> TensorLoader::vector(const std::string& name, int64_t size) {
  METALLIC_ASSIGN(const std::vector<float> values, host_vector(name, size));
  METALLIC_ASSIGN(std::shared_ptr<void> memory, backend_.allocate(values.size() * sizeof(float)));
  backend_.copy_from_host(memory.get(), values.data(), values.size() * sizeof(float));
  return DeviceVector{std::move(memory), size};
}

Result<DeviceVector> TensorLoader::optional_vector(const std::string& name, int64_t size) {
  if (!has(name)) return DeviceVector{};
  return vector(name, size);
}

Status TensorLoader::check_all_used() const {
  for (const TensorInfo& info : file_->tensors()) {
    if (used_.contains(std::string(info.name))) continue;
    return fail(ErrorCode::kUnsupported,
                "{}: the tensor {} has no role in this architecture; computing without it would give wrong results",
                file_->path(), info.name);
  }
  return {};
}

namespace {

Status load_attention(TensorLoader& loader, const Config& config, const std::string& prefix, LayerWeights& layer) {
  METALLIC_ASSIGN(layer.attention_norm, loader.vector(prefix + "attn_norm.weight", config.width));
  METALLIC_ASSIGN(layer.query, loader.matrix(prefix + "attn_q.weight", config.query_width(), config.width));
  METALLIC_ASSIGN(layer.key, loader.matrix(prefix + "attn_k.weight", config.key_width(), config.width));
  METALLIC_ASSIGN(layer.value, loader.matrix(prefix + "attn_v.weight", config.value_width(), config.width));
  METALLIC_ASSIGN(layer.query_bias, loader.optional_vector(prefix + "attn_q.bias", config.query_width()));
  METALLIC_ASSIGN(layer.key_bias, loader.optional_vector(prefix + "attn_k.bias", config.key_width()));
  METALLIC_ASSIGN(layer.value_bias, loader.optional_vector(prefix + "attn_v.bias", config.value_width()));
  METALLIC_ASSIGN(layer.query_norm, loader.optional_vector(prefix + "attn_q_norm.weight", config.head_dim));
  METALLIC_ASSIGN(layer.key_norm, loader.optional_vector(prefix + "attn_k_norm.weight", config.head_dim));
  METALLIC_ASSIGN(layer.attention_output,
                  loader.matrix(prefix + "attn_output.weight", config.width, int64_t(config.heads) * config.value_dim));
  METALLIC_ASSIGN(layer.attention_output_bias, loader.optional_vector(prefix + "attn_output.bias", config.width));
  METALLIC_ASSIGN(layer.attention_post_norm,
                  loader.optional_vector(prefix + "post_attention_norm.weight", config.width));
  return {};
}

Status load_ffn(TensorLoader& loader, const Config& config, const std::string& prefix, LayerWeights& layer) {
  METALLIC_ASSIGN(layer.ffn_norm, loader.vector(prefix + "ffn_norm.weight", config.width));
  METALLIC_ASSIGN(layer.gate, loader.matrix(prefix + "ffn_gate.weight", config.ff_width, config.width));
  METALLIC_ASSIGN(layer.up, loader.matrix(prefix + "ffn_up.weight", config.ff_width, config.width));
  METALLIC_ASSIGN(layer.down, loader.matrix(prefix + "ffn_down.weight", config.width, config.ff_width));
  METALLIC_ASSIGN(layer.gate_bias, loader.optional_vector(prefix + "ffn_gate.bias", config.ff_width));
  METALLIC_ASSIGN(layer.up_bias, loader.optional_vector(prefix + "ffn_up.bias", config.ff_width));
  METALLIC_ASSIGN(layer.down_bias, loader.optional_vector(prefix + "ffn_down.bias", config.width));
  METALLIC_ASSIGN(layer.ffn_post_norm, loader.optional_vector(prefix + "post_ffw_norm.weight", config.width));
  return {};
}

}  // namespace

Result<Weights> load_weights(std::shared_ptr<const GgufFile> file, Config& config, Backend& backend) {
  TensorLoader loader(file, backend);
  Weights weights;
  const TensorInfo* embedding = file->find_tensor("token_embd.weight");
  if (embedding != nullptr) config.vocab = int(std::min<uint64_t>(embedding->size[1], INT32_MAX));
  METALLIC_ASSIGN(weights.embedding, loader.matrix("token_embd.weight", config.vocab, config.width));
  for (int i = 0; i < config.layers; ++i) {
    const std::string prefix = fmt::format("blk.{}.", i);
    LayerWeights& layer = weights.layers.emplace_back();
    METALLIC_TRY(load_attention(loader, config, prefix, layer));
    METALLIC_TRY(load_ffn(loader, config, prefix, layer));
  }
  METALLIC_ASSIGN(weights.output_norm, loader.vector("output_norm.weight", config.width));
  weights.head = weights.embedding;
  if (loader.has("output.weight")) {
    METALLIC_ASSIGN(weights.head, loader.matrix("output.weight", config.vocab, config.width));
  }
  METALLIC_ASSIGN(weights.head_bias, loader.optional_vector("output.bias", config.vocab));
  if (loader.has("rope_freqs.weight")) {
    METALLIC_ASSIGN(weights.rope_factors, loader.host_vector("rope_freqs.weight", config.rope_dims / 2));
  }
  METALLIC_TRY(loader.check_all_used());
  return weights;
}

}  // namespace metallic

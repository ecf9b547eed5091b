#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace metallic {
namespace {

// Reads keys of one architecture: "llama." + key.
class Keys {
 public:
  Keys(const GgufFile& file, std::string_view arch) : file_(file), prefix_(std::string(arch) + ".") {}

  std::string name(std::string_view key) const { return prefix_ + std::string(key); }
  const MetadataValue* find(std::string_view key) const { return file_.find(name(key)); }

  // A size: 1 to 2^31 - 1.
  Result<int> size(std::string_view key) const {
    METALLIC_ASSIGN(const uint64_t value, file_.get_unsigned(name(key)));
    return checked_size(key, value);
  }
  Result<int> size_or(std::string_view key, int fallback) const {
    return find(key) == nullptr ? Result<int>(fallback) : size(key);
  }

  // A size that may be given as an array with one value for each layer; they must all be the same here.
  Result<int> uniform_size_or(std::string_view key, int fallback) const {
    const MetadataValue* value = find(key);
    if (value == nullptr || value->as_array() == nullptr) return size_or(key, fallback);
    const auto numbers = value->as_array()->integers();
    if (!numbers || numbers->empty() || numbers->front() < 0)
      return fail(ErrorCode::kCorrupt, "{}: {} must be a positive number or an array of them", file_.path(), name(key));
    for (const int64_t number : *numbers)
      if (number != numbers->front())
        return fail(ErrorCode::kUnsupported, "{}: {} differs between layers, which is not supported", file_.path(),
                    name(key));
    return checked_size(key, uint64_t(numbers->front()));
  }

  // A finite positive number.
  Result<float> positive(std::string_view key, double fallback) const {
    METALLIC_ASSIGN(const double value, file_.get_number_or(name(key), fallback));
    if (!(value > 0) || !std::isfinite(float(value)))
      return fail(ErrorCode::kCorrupt, "{}: {} is {}; a positive finite number is needed", file_.path(), name(key),
                  value);
    return float(value);
  }

 private:
  Result<int> checked_size(std::string_view key, uint64_t value) const {
    if (value == 0 || value > uint64_t(INT32_MAX))
      return fail(ErrorCode::kCorrupt, "{}: {} is {}; it must be from 1 to {}", file_.path(), name(key), value,
                  INT32_MAX);
    return int(value);
  }

  const GgufFile& file_;
  std::string prefix_;
};

Status read_heads(const GgufFile& file, const Keys& keys, Config& config) {
  METALLIC_ASSIGN(config.heads, keys.uniform_size_or("attention.head_count", 0));
  if (config.heads == 0)
    return fail(ErrorCode::kNotFound, "{}: the key {} is missing", file.path(), keys.name("attention.head_count"));
  METALLIC_ASSIGN(config.kv_heads, keys.uniform_size_or("attention.head_count_kv", config.heads));
  if (config.kv_heads > config.heads || config.heads % config.kv_heads != 0)
    return fail(ErrorCode::kCorrupt,
                "{}: {} query heads cannot share {} KV heads; the first must be a multiple of the second", file.path(),
                config.heads, config.kv_heads);
  if (keys.find("attention.key_length") == nullptr && config.width % config.heads != 0)
    return fail(ErrorCode::kCorrupt, "{}: embedding length {} is no multiple of {} heads and {} is not given",
                file.path(), config.width, config.heads, keys.name("attention.key_length"));
  METALLIC_ASSIGN(config.head_dim, keys.size_or("attention.key_length", std::max(1, config.width / config.heads)));
  METALLIC_ASSIGN(config.value_dim, keys.size_or("attention.value_length", config.head_dim));
  const int64_t widest = int64_t(config.heads) * std::max(config.head_dim, config.value_dim);
  if (widest > INT32_MAX)
    return fail(ErrorCode::kCorrupt, "{}: {} heads of {} elements are too many", file.path(), config.heads,
                config.head_dim);
  config.attention_scale = 1.0f / std::sqrt(float(config.head_dim));
  return {};
}

Status read_rope(const GgufFile& file, const Keys& keys, Config& config) {
  METALLIC_ASSIGN(config.rope_dims, keys.size_or("rope.dimension_count", config.head_dim));
  if (config.rope_dims % 2 != 0 || config.rope_dims > config.head_dim)
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; it must be even and at most the head size, {}", file.path(),
                keys.name("rope.dimension_count"), config.rope_dims, config.head_dim);
  METALLIC_ASSIGN(config.rope_base, keys.positive("rope.freq_base", 10000.0));
  METALLIC_ASSIGN(config.local_rope_base,
                  keys.positive("rope.freq_base_swa",
                                config.spec->local_rope_base > 0 ? config.spec->local_rope_base : config.rope_base));
  // Old files give only a factor, under another name: linear scaling.
  METALLIC_ASSIGN(const float old_factor, keys.positive("rope.scale_linear", 1.0));
  METALLIC_ASSIGN(const float factor, keys.positive("rope.scaling.factor", old_factor));
  METALLIC_ASSIGN(const std::string_view type, file.get_string_or(keys.name("rope.scaling.type"), "linear"));
  if (type != "none" && type != "linear")
    return fail(ErrorCode::kUnsupported, "{}: {} is '{}'; the known ones are: none, linear", file.path(),
                keys.name("rope.scaling.type"), type);
  config.rope_position_scale = type == "linear" ? 1.0f / factor : 1.0f;
  return {};
}

// Which layers have the sliding window.
Status read_window(const GgufFile& file, const Keys& keys, Config& config) {
  config.local.assign(size_t(config.layers), false);
  METALLIC_ASSIGN(const uint64_t window, file.get_unsigned_or(keys.name("attention.sliding_window"), 0));
  if (window == 0) return {};
  config.window = int(std::min<uint64_t>(window, INT32_MAX));
  int global_every = config.spec->global_every;
  if (const MetadataValue* pattern = keys.find("attention.sliding_window_pattern")) {
    if (const MetadataArray* flags = pattern->as_array()) {
      if (flags->size() < size_t(config.layers))
        return fail(ErrorCode::kCorrupt, "{}: {} has {} values for {} layers", file.path(),
                    keys.name("attention.sliding_window_pattern"), flags->size(), config.layers);
      for (int layer = 0; layer < config.layers; ++layer) {
        const MetadataValue flag = flags->at(size_t(layer));
        config.local[size_t(layer)] = flag.as_bool().value_or(flag.as_unsigned().value_or(0) != 0);
      }
      return {};
    }
    METALLIC_ASSIGN(global_every, keys.size("attention.sliding_window_pattern"));
  }
  for (int layer = 0; layer < config.layers; ++layer)
    config.local[size_t(layer)] = global_every == 0 || (layer + 1) % global_every != 0;
  return {};
}

}  // namespace

Result<Config> read_config(const GgufFile& file) {
  METALLIC_ASSIGN(const std::string_view arch, file.get_string("general.architecture"));
  auto spec = find_arch_spec(arch);
  if (!spec) return fail_while(file.path(), spec.error());
  const Keys keys(file, arch);
  Config config;
  config.spec = *spec;

  METALLIC_ASSIGN(config.layers, keys.size("block_count"));
  if (size_t(config.layers) > file.tensors().size())
    return fail(ErrorCode::kCorrupt, "{}: {} is {}, but the file has only {} tensors", file.path(),
                keys.name("block_count"), config.layers, file.tensors().size());
  METALLIC_ASSIGN(config.width, keys.size("embedding_length"));
  METALLIC_ASSIGN(config.ff_width, keys.uniform_size_or("feed_forward_length", 0));
  if (config.ff_width == 0)
    return fail(ErrorCode::kNotFound, "{}: the key {} is missing", file.path(), keys.name("feed_forward_length"));
  METALLIC_ASSIGN(config.context_length, keys.size_or("context_length", 4096));
  METALLIC_ASSIGN(config.norm_epsilon, keys.positive("attention.layer_norm_rms_epsilon", 1e-5));
  METALLIC_TRY(read_heads(file, keys, config));
  METALLIC_TRY(read_rope(file, keys, config));
  METALLIC_TRY(read_window(file, keys, config));
  METALLIC_ASSIGN(const uint64_t experts, file.get_unsigned_or(keys.name("expert_count"), 0));
  if (experts > 0)
    return fail(ErrorCode::kUnsupported, "{}: {} is {}; mixtures of experts are not supported yet", file.path(),
                keys.name("expert_count"), experts);
  if (config.spec->scale_embedding) config.embedding_scale = std::sqrt(float(config.width));
  if (config.spec->adjust != nullptr) config.spec->adjust(config);
  return config;
}

}  // namespace metallic

#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "model/config_keys.h"

namespace metallic {
namespace {

Status read_heads(const ConfigKeys& keys, Config& config) {
  const std::string& path = keys.file().path();
  METALLIC_ASSIGN(config.heads, keys.uniform_size_or("attention.head_count", 0));
  if (config.heads == 0)
    return fail(ErrorCode::kNotFound, "{}: the key {} is missing", path, keys.name("attention.head_count"));
  METALLIC_ASSIGN(config.kv_heads, keys.uniform_size_or("attention.head_count_kv", config.heads));
  if (config.kv_heads > config.heads || config.heads % config.kv_heads != 0)
    return fail(ErrorCode::kCorrupt,
                "{}: {} query heads cannot share {} KV heads; the first must be a multiple of the second", path,
                config.heads, config.kv_heads);
  if (keys.find("attention.key_length") == nullptr && config.width % config.heads != 0)
    return fail(ErrorCode::kCorrupt, "{}: embedding length {} is no multiple of {} heads and {} is not given", path,
                config.width, config.heads, keys.name("attention.key_length"));
  METALLIC_ASSIGN(config.head_dim, keys.size_or("attention.key_length", std::max(1, config.width / config.heads)));
  METALLIC_ASSIGN(config.value_dim, keys.size_or("attention.value_length", config.head_dim));
  const int64_t widest = int64_t(config.heads) * std::max(config.head_dim, config.value_dim);
  if (widest > INT32_MAX)
    return fail(ErrorCode::kCorrupt, "{}: {} heads of {} elements are too many", path, config.heads, config.head_dim);
  return {};
}

// Sizes of latent attention. Older files give the sizes of a whole head, newer ones those of the cached latent vector.
Status read_latent(const ConfigKeys& keys, Config& config) {
  LatentConfig& latent = config.latent;
  METALLIC_ASSIGN(latent.rank, keys.count("attention.kv_lora_rank"));
  if (latent.rank == 0) return {};
  METALLIC_ASSIGN(latent.query_rank, keys.count("attention.q_lora_rank"));
  METALLIC_ASSIGN(const int head_dim, keys.size_or("attention.key_length_mla", config.head_dim));
  METALLIC_ASSIGN(latent.value_dim, keys.size_or("attention.value_length_mla", config.value_dim));
  METALLIC_ASSIGN(const int rope_dims, keys.size("rope.dimension_count"));
  if (rope_dims >= head_dim)
    return fail(ErrorCode::kCorrupt, "{}: {} of {} elements of a head have rope; some must be without",
                keys.file().path(), rope_dims, head_dim);
  latent.nope_dim = head_dim - rope_dims;
  if (config.kv_heads == 1 && (config.head_dim != latent.rank + rope_dims || config.value_dim != latent.rank))
    return fail(ErrorCode::kCorrupt, "{}: {} is {} and {} is {}; with a rank of {} they must be {} and {}",
                keys.file().path(), keys.name("attention.key_length"), config.head_dim,
                keys.name("attention.value_length"), config.value_dim, latent.rank, latent.rank + rope_dims,
                latent.rank);
  if (config.kv_heads != 1 && config.kv_heads != config.heads)
    return fail(ErrorCode::kCorrupt, "{}: latent attention has 1 or {} KV heads, not {}", keys.file().path(),
                config.heads, config.kv_heads);
  config.attention_scale = 1.0f / std::sqrt(float(head_dim));
  return {};
}

Status read_rope_scaling(const ConfigKeys& keys, Config& config) {
  const GgufFile& file = keys.file();
  RopeConfig& rope = config.rope;
  // Old files give only a factor, under another name: linear scaling.
  METALLIC_ASSIGN(const float old_factor, keys.positive("rope.scale_linear", 1.0));
  METALLIC_ASSIGN(rope.factor, keys.positive("rope.scaling.factor", old_factor));
  METALLIC_ASSIGN(const std::string_view type, file.get_string_or(keys.name("rope.scaling.type"), "linear"));
  METALLIC_ASSIGN(rope.original_context, keys.size_or("rope.scaling.original_context_length", config.context_length));
  METALLIC_ASSIGN(const float attention_factor, keys.positive("rope.scaling.attn_factor", 1.0));
  METALLIC_ASSIGN(rope.dynamic_factor, keys.positive("rope.scaling.dynamic_factor", 1.0));
  if (type == "none") {
    rope.factor = 1;
  } else if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::kYarn;
    const float usual = rope.factor > 1 ? 1.0f + 0.1f * std::log(rope.factor) : 1.0f;
    rope.magnitude_given = keys.find("rope.scaling.yarn_attn_factor") != nullptr;
    METALLIC_ASSIGN(rope.magnitude, keys.positive("rope.scaling.yarn_attn_factor", double(attention_factor * usual)));
    METALLIC_ASSIGN(rope.beta_fast, keys.positive("rope.scaling.yarn_beta_fast", 32.0));
    METALLIC_ASSIGN(rope.beta_slow, keys.positive("rope.scaling.yarn_beta_slow", 1.0));
    METALLIC_ASSIGN(rope.extrapolation, keys.number("rope.scaling.yarn_ext_factor", 1.0));
    METALLIC_ASSIGN(rope.truncate, keys.flag("rope.scaling.yarn_truncate", true));
    METALLIC_ASSIGN(rope.yarn_log_multiplier, keys.number("rope.scaling.yarn_log_multiplier", 0.0));
  } else if (type == "longrope") {
    rope.scaling = RopeScaling::kLongRope;
  } else {
    return fail(ErrorCode::kUnsupported, "{}: {} is '{}'; the known ones are: none, linear, yarn, longrope",
                file.path(), keys.name("rope.scaling.type"), type);
  }
  if (rope.scaling != RopeScaling::kYarn) rope.magnitude = attention_factor;
  return {};
}

// One flag for each layer, from an array of booleans or numbers.
Result<std::vector<bool>> layer_flags(const ConfigKeys& keys, std::string_view key, int layers) {
  METALLIC_ASSIGN(const MetadataArray* array, keys.file().get_array(keys.name(key)));
  if (array->size() < size_t(layers))
    return fail(ErrorCode::kCorrupt, "{}: {} has {} values for {} layers", keys.file().path(), keys.name(key),
                array->size(), layers);
  std::vector<bool> flags;
  for (size_t layer = 0; layer < size_t(layers); ++layer) {
    const MetadataValue flag = array->at(layer);
    flags.push_back(flag.as_bool().value_or(flag.as_unsigned().value_or(0) != 0));
  }
  return flags;
}

Status read_rope(const ConfigKeys& keys, Config& config) {
  RopeConfig& rope = config.rope;
  METALLIC_ASSIGN(rope.dims, keys.size_or("rope.dimension_count", config.head_dim));
  if (config.spec->rope && (rope.dims % 2 != 0 || rope.dims > config.head_dim))
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; it must be even and at most the head size, {}", keys.file().path(),
                keys.name("rope.dimension_count"), rope.dims, config.head_dim);
  METALLIC_ASSIGN(rope.base, keys.positive("rope.freq_base", 10000.0));
  METALLIC_ASSIGN(
      rope.local_base,
      keys.positive("rope.freq_base_swa", config.spec->local_rope_base > 0 ? config.spec->local_rope_base : rope.base));
  rope.local_is_plain = config.spec->local_rope_base > 0 || keys.find("rope.freq_base_swa") != nullptr;
  if (config.spec->rope && keys.find("rope.layers") != nullptr) {
    METALLIC_ASSIGN(config.roped, layer_flags(keys, "rope.layers", config.layers));
  }
  return read_rope_scaling(keys, config);
}

// Which layers have the sliding window.
Status read_window(const ConfigKeys& keys, Config& config) {
  config.local.assign(size_t(config.layers), false);
  METALLIC_ASSIGN(const uint64_t window, keys.file().get_unsigned_or(keys.name("attention.sliding_window"), 0));
  if (window == 0) return {};
  config.window = int(std::min<uint64_t>(window, INT32_MAX));
  int global_every = config.spec->global_every;
  if (const MetadataValue* pattern = keys.find("attention.sliding_window_pattern")) {
    if (pattern->as_array() != nullptr) {
      METALLIC_ASSIGN(config.local, layer_flags(keys, "attention.sliding_window_pattern", config.layers));
      return {};
    }
    METALLIC_ASSIGN(global_every, keys.size("attention.sliding_window_pattern"));
  }
  const int shift = config.spec->first_global ? 0 : 1;
  for (int layer = 0; layer < config.layers; ++layer)
    config.local[size_t(layer)] = global_every == 0 || (layer + shift) % global_every != 0;
  return {};
}

Status read_experts(const ConfigKeys& keys, Config& config) {
  const std::string& path = keys.file().path();
  ExpertConfig& experts = config.experts;
  METALLIC_ASSIGN(experts.count, keys.count("expert_count"));
  if (experts.count == 0) return {};
  METALLIC_ASSIGN(experts.used, keys.size("expert_used_count"));
  if (experts.used > experts.count)
    return fail(ErrorCode::kCorrupt, "{}: {} of {} experts cannot be used", path, experts.used, experts.count);
  METALLIC_ASSIGN(experts.width, keys.size_or("expert_feed_forward_length", config.ff_width));
  METALLIC_ASSIGN(experts.every, keys.count("moe_every_n_layers"));
  METALLIC_ASSIGN(experts.groups, keys.size_or("expert_group_count", 1));
  METALLIC_ASSIGN(experts.groups_used, keys.size_or("expert_group_used_count", 1));
  if (experts.count % experts.groups != 0 || experts.groups_used > experts.groups ||
      int64_t(experts.groups_used) * (experts.count / experts.groups) < experts.used)
    return fail(ErrorCode::kCorrupt, "{}: {} experts in {} groups, of which {} are used, do not give {} experts", path,
                experts.count, experts.groups, experts.groups_used, experts.used);
  METALLIC_ASSIGN(const int gating, keys.count("expert_gating_func"));
  constexpr int kSoftmax = 1, kSigmoid = 2, kSoftmaxOfChosen = 3;
  switch (gating) {
    case 0:
      experts.router = config.spec->router;
      break;
    case kSoftmax:
      experts.router = RouterKind::kSoftmax;
      break;
    case kSigmoid:
      experts.router = RouterKind::kSigmoid;
      break;
    case kSoftmaxOfChosen:
      experts.router = RouterKind::kSoftmax;
      break;
    default:
      return fail(ErrorCode::kUnsupported, "{}: {} is {}; the known ones are 1, 2 and 3", path,
                  keys.name("expert_gating_func"), gating);
  }
  METALLIC_ASSIGN(experts.normalise,
                  keys.flag("expert_weights_norm", config.spec->normalise_experts || gating == kSoftmaxOfChosen));
  METALLIC_ASSIGN(experts.scale, keys.positive("expert_weights_scale", 1.0));
  return {};
}

Status read_scales(const ConfigKeys& keys, Config& config) {
  METALLIC_ASSIGN(const float attention_scale, keys.number("attention.scale", 0.0));
  config.attention_scale_given = attention_scale > 0;
  config.attention_scale = config.attention_scale_given ? attention_scale : 1.0f / std::sqrt(float(config.head_dim));
  METALLIC_ASSIGN(config.attention_softcap, keys.number("attn_logit_softcapping", 0.0));
  METALLIC_ASSIGN(config.final_softcap, keys.number("final_logit_softcapping", 0.0));
  METALLIC_ASSIGN(config.alibi, keys.number("attention.max_alibi_bias", double(config.spec->alibi)));
  if (config.alibi < 0)
    return fail(ErrorCode::kCorrupt, "{}: {} is {}; it must not be negative", keys.file().path(),
                keys.name("attention.max_alibi_bias"), config.alibi);
  METALLIC_ASSIGN(
      config.embedding_scale,
      keys.positive("embedding_scale", config.spec->scale_embedding ? std::sqrt(float(config.width)) : 1.0));
  METALLIC_ASSIGN(config.residual_scale, keys.positive("residual_scale", 1.0));
  METALLIC_ASSIGN(config.logit_scale, keys.positive("logit_scale", 1.0));
  if (config.spec->logit_scale_divides) config.logit_scale = 1.0f / config.logit_scale;
  METALLIC_ASSIGN(config.parallel_residual, keys.flag("use_parallel_residual", config.spec->parallel_residual));
  METALLIC_ASSIGN(config.causal, keys.flag("attention.causal", !config.spec->encoder));
  METALLIC_ASSIGN(const float clamp, keys.number("attention.clamp_kqv", 0.0));
  if (clamp != 0)
    return fail(ErrorCode::kUnsupported, "{}: {} is {}; clamping Q, K and V is not supported", keys.file().path(),
                keys.name("attention.clamp_kqv"), clamp);
  return {};
}

}  // namespace

Result<Config> read_config(const GgufFile& file) {
  METALLIC_ASSIGN(const std::string_view arch, file.get_string("general.architecture"));
  auto spec = find_arch_spec(arch);
  if (!spec) return fail_while(file.path(), spec.error());
  const ConfigKeys keys(file, arch);
  Config config;
  config.spec = *spec;

  METALLIC_ASSIGN(config.layers, keys.size("block_count"));
  if (size_t(config.layers) > file.tensors().size())
    return fail(ErrorCode::kCorrupt, "{}: {} is {}, but the file has only {} tensors", file.path(),
                keys.name("block_count"), config.layers, file.tensors().size());
  METALLIC_ASSIGN(config.width, keys.size("embedding_length"));
  METALLIC_ASSIGN(config.ff_width, keys.uniform_size_or("feed_forward_length", 0));
  if (config.ff_width == 0 && keys.find("expert_feed_forward_length") == nullptr)
    return fail(ErrorCode::kNotFound, "{}: the key {} is missing", file.path(), keys.name("feed_forward_length"));
  METALLIC_ASSIGN(config.context_length, keys.size_or("context_length", 4096));
  METALLIC_ASSIGN(config.norm_epsilon,
                  keys.positive(config.spec->norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                                                    : "attention.layer_norm_epsilon",
                                1e-5));
  METALLIC_TRY(read_heads(keys, config));
  METALLIC_TRY(read_scales(keys, config));
  METALLIC_TRY(read_latent(keys, config));
  METALLIC_TRY(read_rope(keys, config));
  METALLIC_TRY(read_window(keys, config));
  METALLIC_TRY(read_experts(keys, config));
  if (config.spec->adjust != nullptr) config.spec->adjust(config);
  return config;
}

}  // namespace metallic

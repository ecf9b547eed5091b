#include "convert/arch.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/printable.h"

namespace metallic::convert {
namespace {

Status read_common_dims(const JsonObject& config, Dims& dims) {
  METALLIC_ASSIGN(const int64_t layers, config.size({"num_hidden_layers", "n_layer", "n_layers", "num_layers"}));
  METALLIC_ASSIGN(const int64_t width, config.size({"hidden_size", "n_embd", "dim"}));
  METALLIC_ASSIGN(const int64_t heads, config.size({"num_attention_heads", "n_head", "n_heads"}));
  METALLIC_ASSIGN(const int64_t kv_heads, config.size_or({"num_key_value_heads", "n_kv_heads"}, heads));
  if (heads % kv_heads != 0)
    return fail(ErrorCode::kCorrupt, "{}: {} heads cannot share {} KV heads", config.path(), heads, kv_heads);
  if (!config.has({"head_dim"}) && width % heads != 0)
    return fail(ErrorCode::kCorrupt, "{}: hidden_size {} is no multiple of {} heads, and there is no head_dim",
                config.path(), width, heads);
  METALLIC_ASSIGN(const int64_t head_dim, config.size_or({"head_dim"}, std::max<int64_t>(width / heads, 1)));
  if (head_dim % 2 != 0) return fail(ErrorCode::kUnsupported, "{}: the head size {} is odd", config.path(), head_dim);
  METALLIC_ASSIGN(const int64_t vocab, config.size({"vocab_size"}));
  METALLIC_ASSIGN(const int64_t context, config.size_or({"max_position_embeddings", "n_positions", "n_ctx"}, 0));
  dims.set('L', layers);
  dims.set('W', width);
  dims.set('H', heads);
  dims.set('K', kv_heads);
  dims.set('D', head_dim);
  dims.set('Q', heads * head_dim);
  dims.set('R', kv_heads * head_dim);
  dims.set('V', vocab);
  dims.set('C', context);
  if (config.has({"intermediate_size", "n_inner", "hidden_dim"})) {
    METALLIC_ASSIGN(const int64_t ff, config.size({"intermediate_size", "n_inner", "hidden_dim"}));
    dims.set('F', ff);
    dims.set('G', 2 * ff);
  }
  return {};
}

Status copy_size(const JsonObject& config, KeyWriter& keys, JsonObject::Keys from, const char* to) {
  if (!config.has(from)) return {};
  METALLIC_ASSIGN(const int64_t value, config.size(from));
  keys.size(to, value);
  return {};
}

Status copy_number(const JsonObject& config, KeyWriter& keys, JsonObject::Keys from, const char* to) {
  if (!config.has(from)) return {};
  METALLIC_ASSIGN(const double value, config.number(from));
  keys.number(to, value);
  return {};
}

}  // namespace

Result<HfModel> read_model(const std::string& folder, const ConvertArch& arch, JsonObject config) {
  METALLIC_ASSIGN(Rope rope, read_rope(config));
  HfModel model{folder, std::move(config), std::move(rope), {}};
  METALLIC_TRY(read_common_dims(model.config, model.dims));
  if (!arch.activations.empty())
    METALLIC_TRY(
        require_text(model.config, {"hidden_act", "hidden_activation", "activation_function"}, arch.activations));
  if (arch.set_dims != nullptr) METALLIC_TRY(arch.set_dims(model));
  if (!model.dims.has('F'))
    return fail(ErrorCode::kNotFound, "{}: the key intermediate_size is missing", model.config.path());
  return model;
}

Status write_common_keys(const HfModel& model, KeyWriter& keys) {
  const JsonObject& config = model.config;
  const Dims& dims = model.dims;
  keys.size("block_count", dims['L']);
  if (dims['C'] > 0) keys.size("context_length", dims['C']);
  keys.size("embedding_length", dims['W']);
  keys.size("feed_forward_length", dims['F']);
  keys.size("attention.head_count", dims['H']);
  keys.size("attention.head_count_kv", dims['K']);
  if (config.has({"head_dim"})) {
    keys.size("attention.key_length", dims['D']);
    keys.size("attention.value_length", dims['D']);
  }
  METALLIC_TRY(write_rope_keys(model.rope, keys));
  METALLIC_TRY(copy_number(config, keys, {"rms_norm_eps", "norm_eps"}, "attention.layer_norm_rms_epsilon"));
  METALLIC_TRY(copy_number(config, keys, {"layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"},
                           "attention.layer_norm_epsilon"));
  METALLIC_TRY(copy_size(config, keys, {"num_local_experts", "num_experts", "n_routed_experts"}, "expert_count"));
  METALLIC_TRY(copy_size(config, keys, {"num_experts_per_tok", "num_experts_per_token"}, "expert_used_count"));
  METALLIC_TRY(copy_size(config, keys, {"n_group"}, "expert_group_count"));
  METALLIC_TRY(copy_size(config, keys, {"topk_group"}, "expert_group_used_count"));
  METALLIC_ASSIGN(const std::string scores, config.text_or({"score_function", "scoring_func", "score_func"}, ""));
  if (scores.empty()) return {};
  if (scores != "softmax" && scores != "sigmoid")
    return fail(ErrorCode::kUnsupported, "{}: scoring_func is '{}'; the known ones are: softmax, sigmoid",
                config.path(), scores);
  keys.size("expert_gating_func", scores == "softmax" ? 1 : 2);
  return {};
}

Status require_text(const JsonObject& config, JsonObject::Keys keys, std::span<const std::string_view> known) {
  METALLIC_ASSIGN(const std::string value, config.text_or(keys, known.front()));
  if (std::ranges::find(known, value) != known.end()) return {};
  return fail(ErrorCode::kUnsupported, "{}: {} is '{}'; this architecture is known with: {}", config.path(),
              fmt::join(keys, " or "), printable(value), fmt::join(known, ", "));
}

Status refuse_flags(const JsonObject& config, std::initializer_list<std::string_view> flags) {
  for (const std::string_view flag : flags) {
    METALLIC_ASSIGN(const bool on, config.flag_or({flag}, false));
    if (on) return fail(ErrorCode::kUnsupported, "{}: {} is true, which GGUF cannot say", config.path(), flag);
  }
  return {};
}

Result<int64_t> window_of(const JsonObject& config) {
  METALLIC_ASSIGN(const int64_t window, config.integer_or({"sliding_window"}, 0));
  return window <= 0 ? Result<int64_t>(0) : config.size({"sliding_window"});
}

int64_t rotated_dims(const HfModel& model, double usual_share) {
  return int64_t(model.rope.partial.value_or(usual_share) * double(model.dims['D']));
}

Status write_rotated_dims(const HfModel& model, KeyWriter& keys) {
  keys.size("vocab_size", model.dims['V']);
  keys.size("rope.dimension_count", rotated_dims(model));
  return {};
}

Status write_layer_types(const HfModel& model, KeyWriter& keys, bool (*usual)(int64_t layer), bool local_rope) {
  if (!model.config.has({"layer_types"})) return {};
  METALLIC_ASSIGN(const std::vector<std::string> types, model.config.texts({"layer_types"}));
  if (int64_t(types.size()) != model.dims['L'])
    return fail(ErrorCode::kCorrupt, "{}: layer_types has {} entries for {} layers", model.config.path(), types.size(),
                model.dims['L']);
  std::vector<bool> local;
  bool differs = false;
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention")
      return fail(ErrorCode::kUnsupported,
                  "{}: layer_types has '{}'; the known ones are: full_attention, sliding_attention",
                  model.config.path(), type);
    differs = differs || (type == "sliding_attention") != usual(int64_t(local.size()));
    local.push_back(type == "sliding_attention");
  }
  if (differs) keys.flags("attention.sliding_window_pattern", local);
  if (differs && local_rope) keys.flags("rope.layers", local);
  return {};
}

Status write_pooling(const HfModel& model, KeyWriter& keys) {
  const std::filesystem::path folder(model.folder), list = folder / "modules.json";
  std::error_code ignored;
  if (!std::filesystem::exists(list, ignored)) return {};
  METALLIC_ASSIGN(const MappedFile file, MappedFile::open(list.string()));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  METALLIC_ASSIGN(const JsonObject modules,
                  JsonObject::parse(list.string(), "{\"modules\":" + std::string(text) + "}"));
  for (const nlohmann::json& module : modules.json().at("modules")) {
    if (!module.is_object() || !module.contains("type") || !module.contains("path")) continue;
    if (!module["type"].is_string() || !module["type"].get<std::string>().ends_with("Pooling")) continue;
    const std::filesystem::path part(module["path"].is_string() ? module["path"].get<std::string>() : "");
    if (part.empty() || part.is_absolute() || part != part.filename())
      return fail(ErrorCode::kCorrupt, "{}: the path of the pooling module is no folder beside it", list.string());
    METALLIC_ASSIGN(const JsonObject pooling, JsonObject::open((folder / part / "config.json").string()));
    constexpr std::pair<const char*, int> kModes[] = {
        {"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2}, {"pooling_mode_lasttoken", 3}};
    for (const auto& [mode, type] : kModes) {
      METALLIC_ASSIGN(const bool chosen, pooling.flag_or({mode}, false));
      if (!chosen) continue;
      keys.size("pooling_type", type);
      return {};
    }
    return fail(ErrorCode::kUnsupported, "{}: the known poolings are: mean, cls, lasttoken", pooling.path());
  }
  return {};
}

}  // namespace metallic::convert

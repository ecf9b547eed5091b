// Qwen2, Qwen3 and their mixtures of experts: rope over halves, so rows stay where they are.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kQwenHeadNorms = std::to_array<TensorRule>({
    {"layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", "D"},
    {"layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", "D"},
});

constexpr auto kQwen2 = join_rules(kEnds, kNormsBefore, kAttention, kGatedFeedForward);

constexpr auto kQwen3 = join_rules(kEnds, kNormsBefore, kAttention, kQwenHeadNorms, kGatedFeedForward);

constexpr auto kQwen2Moe =
    join_rules(kEnds, kNormsBefore, kAttention, kExpertsOrDense,
               std::to_array<TensorRule>({
                   {"layers.{b}.mlp.shared_expert_gate", "blk.{b}.ffn_gate_inp_shexp", "1W", copy_tensor, false},
                   {"layers.{b}.mlp.shared_expert.gate_proj", "blk.{b}.ffn_gate_shexp", "SW", copy_tensor, false},
                   {"layers.{b}.mlp.shared_expert.up_proj", "blk.{b}.ffn_up_shexp", "SW", copy_tensor, false},
                   {"layers.{b}.mlp.shared_expert.down_proj", "blk.{b}.ffn_down_shexp", "WS", copy_tensor, false},
               }));

constexpr auto kQwen3Moe = join_rules(kEnds, kNormsBefore, kAttention, kQwenHeadNorms, kExpertsOrDense);

Status write_qwen_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_rotated_dims(model, keys));
  METALLIC_TRY(write_pooling(model, keys));
  METALLIC_ASSIGN(const bool windowed, model.config.flag_or({"use_sliding_window"}, false));
  METALLIC_ASSIGN(const int64_t window, window_of(model.config));
  if (!windowed || window == 0) return {};
  keys.size("attention.sliding_window", window);
  if (model.config.has({"layer_types"})) return write_layer_types(model, keys, never_local);
  METALLIC_ASSIGN(const int64_t global_layers, model.config.integer_or({"max_window_layers"}, 0));
  std::vector<bool> local;
  for (int64_t i = 0; i < model.dims['L']; ++i) local.push_back(i >= global_layers);
  keys.flags("attention.sliding_window_pattern", local);
  return {};
}

Status set_moe_dims(HfModel& model) {
  METALLIC_ASSIGN(const int64_t experts, model.config.size({"num_experts", "num_local_experts"}));
  METALLIC_ASSIGN(const int64_t ff, model.config.size({"moe_intermediate_size"}));
  METALLIC_ASSIGN(const int64_t shared, model.config.size_or({"shared_expert_intermediate_size"}, ff));
  model.dims.set('1', 1);
  model.dims.set('E', experts);
  model.dims.set('X', ff);
  model.dims.set('Y', 2 * ff);
  model.dims.set('S', shared);
  return {};
}

Status write_moe_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_qwen_keys(model, keys));
  keys.size("expert_feed_forward_length", model.dims['X']);
  if (model.config.has({"shared_expert_intermediate_size"}))
    keys.size("expert_shared_feed_forward_length", model.dims['S']);
  METALLIC_ASSIGN(const bool normalised, model.config.flag_or({"norm_topk_prob"}, false));
  keys.flag("expert_weights_norm", normalised);
  return {};
}

constexpr std::string_view kQwen2Defaults =
    R"({"rms_norm_eps": 1e-6, "sliding_window": 4096, "max_window_layers": 28})";
constexpr std::string_view kQwen2MoeDefaults =
    R"({"rms_norm_eps": 1e-6, "sliding_window": 4096, "max_window_layers": 28,
    "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632})";
constexpr std::string_view kQwen3Defaults = R"({"rms_norm_eps": 1e-6, "sliding_window": 4096, "max_window_layers": 28,
    "head_dim": 128})";
constexpr std::string_view kQwen3MoeDefaults =
    R"({"rms_norm_eps": 1e-6, "sliding_window": 4096, "num_key_value_heads": 4,
    "num_experts_per_tok": 8, "moe_intermediate_size": 768})";
constexpr std::string_view kQwen2Names[] = {"Qwen2ForCausalLM", "Qwen2Model"};
constexpr std::string_view kQwen2MoeNames[] = {"Qwen2MoeForCausalLM"};
constexpr std::string_view kQwen3Names[] = {"Qwen3ForCausalLM", "Qwen3Model"};
constexpr std::string_view kQwen3MoeNames[] = {"Qwen3MoeForCausalLM"};

}  // namespace

const ConvertArch& convert_qwen2() {
  static constexpr ConvertArch kArch{.hf_names = kQwen2Names,
                                     .name = "qwen2",
                                     .rules = kQwen2,
                                     .write_keys = write_qwen_keys,
                                     .activations = kSilu,
                                     .defaults = kQwen2Defaults};
  return kArch;
}

const ConvertArch& convert_qwen2_moe() {
  static constexpr ConvertArch kArch{.hf_names = kQwen2MoeNames,
                                     .name = "qwen2moe",
                                     .rules = kQwen2Moe,
                                     .set_dims = set_moe_dims,
                                     .write_keys = write_moe_keys,
                                     .activations = kSilu,
                                     .defaults = kQwen2MoeDefaults};
  return kArch;
}

const ConvertArch& convert_qwen3() {
  static constexpr ConvertArch kArch{.hf_names = kQwen3Names,
                                     .name = "qwen3",
                                     .rules = kQwen3,
                                     .write_keys = write_qwen_keys,
                                     .activations = kSilu,
                                     .defaults = kQwen3Defaults};
  return kArch;
}

const ConvertArch& convert_qwen3_moe() {
  static constexpr ConvertArch kArch{.hf_names = kQwen3MoeNames,
                                     .name = "qwen3moe",
                                     .rules = kQwen3Moe,
                                     .set_dims = set_moe_dims,
                                     .write_keys = write_moe_keys,
                                     .activations = kSilu,
                                     .defaults = kQwen3MoeDefaults};
  return kArch;
}

}  // namespace metallic::convert

// DeepSeek V2 and V3: multi-head latent attention (arXiv:2405.04434), leading dense blocks, then experts with shared
// ones.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

// kv_b_proj, rows (heads, N + U): K's part (heads, N, rank) is transposed, so that queries can absorb it; V's stays.
Status split_latent(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const int64_t heads = dims['H'], keys = dims['N'], values = dims['U'], rank = dims['J'];
  const WeightView by_head = match.view().split(0, {heads, keys + values});
  METALLIC_TRY(plan.add(match.to[0], {heads, rank, keys}, by_head.slice(1, 0, keys).swap(1, 2)));
  return plan.add(match.to[1], {heads, values, rank}, by_head.slice(1, keys, keys + values));
}

constexpr auto kRules =
    join_rules(kEnds, kNormsBefore, kExpertsOrDense,
               std::to_array<TensorRule>({
                   {"layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", "AW", copy_tensor, false},
                   {"layers.{b}.self_attn.q_a_proj", "blk.{b}.attn_q_a", "IW", copy_tensor, false},
                   {"layers.{b}.self_attn.q_a_layernorm", "blk.{b}.attn_q_a_norm", "I", copy_tensor, false},
                   {"layers.{b}.self_attn.q_b_proj", "blk.{b}.attn_q_b", "AI", copy_tensor, false},
                   {"layers.{b}.self_attn.kv_a_proj_with_mqa", "blk.{b}.attn_kv_a_mqa", "BW"},
                   {"layers.{b}.self_attn.kv_a_layernorm", "blk.{b}.attn_kv_a_norm", "J"},
                   {"layers.{b}.self_attn.kv_b_proj", "blk.{b}.attn_k_b,blk.{b}.attn_v_b", "MJ", split_latent},
                   {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WO"},
                   {"layers.{b}.mlp.gate.e_score_correction_bias", "blk.{b}.exp_probs_b.bias", "E", copy_tensor, false},
                   {"layers.{b}.mlp.shared_experts.gate_proj", "blk.{b}.ffn_gate_shexp", "SW", copy_tensor, false},
                   {"layers.{b}.mlp.shared_experts.up_proj", "blk.{b}.ffn_up_shexp", "SW", copy_tensor, false},
                   {"layers.{b}.mlp.shared_experts.down_proj", "blk.{b}.ffn_down_shexp", "WS", copy_tensor, false},
               }));

Status set_dims(HfModel& model) {
  const JsonObject& config = model.config;
  Dims& dims = model.dims;
  METALLIC_ASSIGN(const int64_t no_rope, config.size({"qk_nope_head_dim"}));
  METALLIC_ASSIGN(const int64_t rope, config.size({"qk_rope_head_dim"}));
  METALLIC_ASSIGN(const int64_t values, config.size({"v_head_dim"}));
  METALLIC_ASSIGN(const int64_t kv_rank, config.size({"kv_lora_rank"}));
  METALLIC_ASSIGN(const int64_t query_rank, config.size_or({"q_lora_rank"}, 1));
  METALLIC_ASSIGN(const int64_t experts, config.size_or({"n_routed_experts"}, 1));
  METALLIC_ASSIGN(const int64_t ff, config.size({"moe_intermediate_size", "intermediate_size"}));
  METALLIC_ASSIGN(const int64_t shared, config.integer_or({"n_shared_experts"}, 0));
  METALLIC_ASSIGN(const bool neighbours, config.flag_or({"rope_interleave"}, true));
  if (!neighbours)
    return fail(ErrorCode::kUnsupported, "{}: rope_interleave = false has no form in GGUF", config.path());
  if (shared < 0 || shared > 1024)
    return fail(ErrorCode::kCorrupt, "{}: n_shared_experts is {}", config.path(), shared);
  const int64_t heads = dims['H'];
  dims.set('A', heads * (no_rope + rope));
  dims.set('B', kv_rank + rope);
  dims.set('I', query_rank);
  dims.set('J', kv_rank);
  dims.set('M', heads * (no_rope + values));
  dims.set('N', no_rope);
  dims.set('O', heads * values);
  dims.set('P', rope);
  dims.set('U', values);
  dims.set('E', experts);
  dims.set('X', ff);
  dims.set('Y', 2 * ff);
  dims.set('S', shared * ff);
  return {};
}

Status write_attention_keys(const HfModel& model, KeyWriter& keys) {
  const Dims& dims = model.dims;
  // Attention over the latent vectors has one KV head, which all queries share.
  keys.size("attention.head_count_kv", 1);
  keys.size("attention.key_length", dims['B']);
  keys.size("attention.value_length", dims['J']);
  keys.size("attention.key_length_mla", dims['N'] + dims['P']);
  keys.size("attention.value_length_mla", dims['U']);
  keys.size("attention.kv_lora_rank", dims['J']);
  if (model.config.has({"q_lora_rank"})) keys.size("attention.q_lora_rank", dims['I']);
  METALLIC_ASSIGN(const double epsilon, model.config.number_or({"rms_norm_eps"}, 1e-6));
  keys.number("attention.layer_norm_rms_epsilon", epsilon);
  keys.size("rope.dimension_count", dims['P']);
  if (!model.rope.scaling) return {};
  METALLIC_ASSIGN(const double magnitude, model.rope.scaling->number_or({"mscale_all_dim"}, 0));
  if (magnitude != 0) keys.number("rope.scaling.yarn_log_multiplier", 0.1 * magnitude);
  return {};
}

Status write_expert_keys(const HfModel& model, KeyWriter& keys, int default_gating, bool default_norm) {
  const JsonObject& config = model.config;
  const bool has_experts = config.has({"n_routed_experts"});
  METALLIC_ASSIGN(const int64_t dense, config.integer_or({"first_k_dense_replace"}, has_experts ? 0 : model.dims['L']));
  METALLIC_ASSIGN(const int64_t shared, config.integer_or({"n_shared_experts"}, 0));
  METALLIC_ASSIGN(const double scale, config.number_or({"routed_scaling_factor"}, 1));
  METALLIC_ASSIGN(const bool normalised, config.flag_or({"norm_topk_prob"}, default_norm));
  if (dense < 0 || dense > model.dims['L'])
    return fail(ErrorCode::kCorrupt, "{}: first_k_dense_replace is {} of {} layers", config.path(), dense,
                model.dims['L']);
  keys.size("leading_dense_block_count", dense);
  keys.size("expert_feed_forward_length", model.dims['X']);
  keys.size("expert_shared_count", shared);
  keys.number("expert_weights_scale", scale);
  if (normalised) keys.flag("expert_weights_norm", true);
  if (!config.has({"scoring_func", "score_function", "score_func"})) keys.size("expert_gating_func", default_gating);
  return {};
}

// V2 chooses experts without groups unless topk_method says so, whatever n_group is.
Status write_v2_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("vocab_size", model.dims['V']);
  METALLIC_TRY(write_attention_keys(model, keys));
  constexpr std::string_view kMethods[] = {"greedy", "group_limited_greedy"};
  METALLIC_TRY(require_text(model.config, {"topk_method"}, kMethods));
  METALLIC_ASSIGN(const std::string method, model.config.text_or({"topk_method"}, "greedy"));
  if (method == "greedy") {
    keys.size("expert_group_count", 1);
    keys.size("expert_group_used_count", 1);
  }
  return write_expert_keys(model, keys, 1, false);
}

Status write_v3_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("vocab_size", model.dims['V']);
  METALLIC_TRY(write_attention_keys(model, keys));
  return write_expert_keys(model, keys, 2, true);
}

constexpr std::string_view kV2Names[] = {"DeepseekV2ForCausalLM"};
constexpr std::string_view kV3Names[] = {"DeepseekV3ForCausalLM"};
constexpr RuleOptions kOptions = {kModelPrefix, kRotaryBuffers, true};

}  // namespace

const ConvertArch& convert_deepseek2() {
  static constexpr ConvertArch kArch{.hf_names = kV2Names,
                                     .name = "deepseek2",
                                     .rules = kRules,
                                     .options = kOptions,
                                     .set_dims = set_dims,
                                     .write_keys = write_v2_keys,
                                     .activations = kSilu};
  return kArch;
}

const ConvertArch& convert_deepseek3() {
  static constexpr ConvertArch kArch{.hf_names = kV3Names,
                                     .name = "deepseek2",
                                     .rules = kRules,
                                     .options = kOptions,
                                     .set_dims = set_dims,
                                     .write_keys = write_v3_keys,
                                     .activations = kSilu};
  return kArch;
}

}  // namespace metallic::convert

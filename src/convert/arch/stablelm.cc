// StableLM: partial rope, layer norms, perhaps a norm for each head of Q and K and parallel residuals.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kRules =
    join_rules(kEnds, kAttention, kGatedFeedForward,
               std::to_array<TensorRule>({
                   {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
                   {"layers.{b}.self_attn.q_layernorm.norms.{x}", "blk.{b}.attn_q_norm", "D", stack_query_heads, false},
                   {"layers.{b}.self_attn.k_layernorm.norms.{x}", "blk.{b}.attn_k_norm", "D", stack_key_heads, false},
                   {"layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W", copy_tensor, false},
               }));

Status write_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("rope.dimension_count", rotated_dims(model, 0.25));
  METALLIC_ASSIGN(const bool parallel, model.config.flag_or({"use_parallel_residual"}, false));
  keys.flag("use_parallel_residual", parallel);
  if (!model.config.has({"layer_norm_eps"})) {
    METALLIC_ASSIGN(const double epsilon, model.config.number_or({"norm_eps"}, 1e-5));
    keys.number("attention.layer_norm_epsilon", epsilon);
  }
  return {};
}

constexpr std::string_view kNames[] = {"StableLmForCausalLM", "StableLMEpochForCausalLM"};

}  // namespace

const ConvertArch& convert_stablelm() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "stablelm",
                                     .rules = kRules,
                                     .write_keys = write_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "stablelm2"};
  return kArch;
}

}  // namespace metallic::convert

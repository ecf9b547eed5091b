// Llama, Mistral and Mixtral, SmolLM3, Granite: one decoder whose rope turns neighbours, so that the rows of Q and K
// are reordered.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kLlamaAttention = join_rules(kEnds, kNormsBefore,
                                            std::to_array<TensorRule>({
                                                {"layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", "QW", permute_query},
                                                {"layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", "RW", permute_key},
                                                {"layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", "RW"},
                                                {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WQ"},
                                            }));

constexpr auto kDense = join_rules(kLlamaAttention, kGatedFeedForward);

constexpr auto kMixtral = join_rules(
    kLlamaAttention,
    std::to_array<TensorRule>({
        {"layers.{b}.block_sparse_moe.gate", "blk.{b}.ffn_gate_inp", "EW"},
        {"layers.{b}.block_sparse_moe.experts.{x}.w1", "blk.{b}.ffn_gate_exps", "FW", stack_experts},
        {"layers.{b}.block_sparse_moe.experts.{x}.w3", "blk.{b}.ffn_up_exps", "FW", stack_experts},
        {"layers.{b}.block_sparse_moe.experts.{x}.w2", "blk.{b}.ffn_down_exps", "WF", stack_experts},
        // As transformers 5 holds them.
        {"layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp", "EW"},
        {"layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EGW", split_halves},
        {"layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", "EWF"},
    }));

constexpr auto kGraniteMoe = join_rules(
    kLlamaAttention,
    std::to_array<TensorRule>({
        {"layers.{b}.block_sparse_moe.router.layer", "blk.{b}.ffn_gate_inp", "EW"},
        {"layers.{b}.block_sparse_moe.input_linear", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EGW", split_halves},
        {"layers.{b}.block_sparse_moe.output_linear", "blk.{b}.ffn_down_exps", "EWF"},
        {"layers.{b}.shared_mlp.input_linear", "blk.{b}.ffn_gate_shexp,blk.{b}.ffn_up_shexp", "ZW", split_halves,
         false},
        {"layers.{b}.shared_mlp.output_linear", "blk.{b}.ffn_down_shexp", "WS", copy_tensor, false},
    }));

Status write_llama_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_rotated_dims(model, keys));
  METALLIC_ASSIGN(const int64_t window, window_of(model.config));
  if (window > 0) keys.size("attention.sliding_window", window);
  return {};
}

Status set_expert_dims(HfModel& model) {
  METALLIC_ASSIGN(const int64_t experts, model.config.size({"num_local_experts"}));
  model.dims.set('E', experts);
  return {};
}

// no_rope_layers has a 1 for a layer with rope. Readers assume that every fourth has none.
Status write_smollm3_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_ASSIGN(const int64_t interval, model.config.size_or({"no_rope_layer_interval"}, 4));
  std::vector<bool> roped(size_t(model.dims['L'])), usual = roped;
  for (size_t i = 0; i < roped.size(); ++i) {
    roped[i] = (int64_t(i) + 1) % interval != 0;
    usual[i] = (i + 1) % 4 != 0;
  }
  if (model.config.has({"no_rope_layers"})) {
    METALLIC_ASSIGN(const std::vector<double> layers, model.config.numbers({"no_rope_layers"}));
    if (layers.size() != roped.size() && !layers.empty())
      return fail(ErrorCode::kCorrupt, "{}: no_rope_layers has {} entries for {} layers", model.config.path(),
                  layers.size(), roped.size());
    for (size_t i = 0; i < layers.size(); ++i) roped[i] = layers[i] != 0;
  }
  if (roped != usual) keys.flags("rope.layers", roped);
  METALLIC_TRY(write_rotated_dims(model, keys));
  METALLIC_ASSIGN(const bool windowed, model.config.flag_or({"use_sliding_window"}, false));
  METALLIC_ASSIGN(const int64_t window, window_of(model.config));
  if (!windowed || window == 0) return {};
  keys.size("attention.sliding_window", window);
  if (model.config.has({"layer_types"})) return write_layer_types(model, keys, never_local);
  roped.flip();  // those without rope have the window
  keys.flags("attention.sliding_window_pattern", roped);
  return {};
}

Status write_granite_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_rotated_dims(model, keys));
  struct Scale {
    const char *from, *to;
  };
  for (const Scale& scale :
       {Scale{"attention_multiplier", "attention.scale"}, Scale{"embedding_multiplier", "embedding_scale"},
        Scale{"residual_multiplier", "residual_scale"}, Scale{"logits_scaling", "logit_scale"}}) {
    METALLIC_ASSIGN(const double value, model.config.number_or({scale.from}, 1));
    keys.number(scale.to, value);
  }
  if (model.dims.has('S') && model.dims['S'] > 0) keys.size("expert_shared_feed_forward_length", model.dims['S']);
  return {};
}

Status set_granite_moe_dims(HfModel& model) {
  METALLIC_TRY(set_expert_dims(model));
  METALLIC_ASSIGN(const int64_t shared, model.config.integer_or({"shared_intermediate_size"}, 0));
  if (shared < 0 || shared > INT32_MAX)
    return fail(ErrorCode::kCorrupt, "{}: shared_intermediate_size is {}", model.config.path(), shared);
  model.dims.set('S', shared);
  model.dims.set('Z', 2 * shared);
  return {};
}

constexpr std::string_view kLlamaNames[] = {"LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"};
constexpr std::string_view kMistralNames[] = {"MistralForCausalLM"};
constexpr std::string_view kMixtralNames[] = {"MixtralForCausalLM"};
constexpr std::string_view kSmolLm3Names[] = {"SmolLM3ForCausalLM"};
constexpr std::string_view kGraniteNames[] = {"GraniteForCausalLM"};
constexpr std::string_view kGraniteMoeNames[] = {"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"};

}  // namespace

const ConvertArch& convert_llama() {
  static constexpr ConvertArch kArch{.hf_names = kLlamaNames,
                                     .name = "llama",
                                     .rules = kDense,
                                     .write_keys = write_llama_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "smollm",
                                     .defaults = R"({"rms_norm_eps": 1e-6})"};
  return kArch;
}

const ConvertArch& convert_mistral() {
  static constexpr ConvertArch kArch{
      .hf_names = kMistralNames,
      .name = "llama",
      .rules = kDense,
      .write_keys = write_llama_keys,
      .activations = kSilu,
      .defaults = R"({"rms_norm_eps": 1e-6, "num_key_value_heads": 8, "sliding_window": 4096})"};
  return kArch;
}

const ConvertArch& convert_mixtral() {
  static constexpr ConvertArch kArch{.hf_names = kMixtralNames,
                                     .name = "llama",
                                     .rules = kMixtral,
                                     .set_dims = set_expert_dims,
                                     .write_keys = write_llama_keys,
                                     .activations = kSilu,
                                     .defaults = R"({"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_key_value_heads": 8,
                                         "num_local_experts": 8, "num_experts_per_tok": 2})"};
  return kArch;
}

const ConvertArch& convert_smollm3() {
  static constexpr ConvertArch kArch{.hf_names = kSmolLm3Names,
                                     .name = "smollm3",
                                     .rules = kDense,
                                     .write_keys = write_smollm3_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "smollm",
                                     .defaults = R"({"rms_norm_eps": 1e-6, "rope_theta": 2e6, "num_key_value_heads": 4,
                                         "tie_word_embeddings": true})"};
  return kArch;
}

const ConvertArch& convert_granite() {
  static constexpr ConvertArch kArch{.hf_names = kGraniteNames,
                                     .name = "granite",
                                     .rules = kDense,
                                     .write_keys = write_granite_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "refact",
                                     .defaults = R"({"rms_norm_eps": 1e-6})"};
  return kArch;
}

const ConvertArch& convert_granite_moe() {
  static constexpr ConvertArch kArch{
      .hf_names = kGraniteMoeNames,
      .name = "granitemoe",
      .rules = kGraniteMoe,
      .set_dims = set_granite_moe_dims,
      .write_keys = write_granite_keys,
      .activations = kSilu,
      .pre_tokenizer = "refact",
      .defaults = R"({"rms_norm_eps": 1e-6, "num_local_experts": 8, "num_experts_per_tok": 2})"};
  return kArch;
}

}  // namespace metallic::convert

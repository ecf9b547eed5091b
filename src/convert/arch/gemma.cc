// Gemma 1 to 3 (text): norms multiply by 1 + w, the head is the embedding.
#include <cmath>

#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kGemmaBlock = join_rules(kAttention, kGatedFeedForward,
                                        std::to_array<TensorRule>({
                                            {"embed_tokens", "token_embd", "VW"},
                                            {"lm_head", "", ""},
                                            {"norm", "output_norm", "W", add_one},
                                            {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W", add_one},
                                        }));

constexpr auto kGemmaFourNorms = std::to_array<TensorRule>({
    {"layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", "W", add_one},
    {"layers.{b}.pre_feedforward_layernorm", "blk.{b}.ffn_norm", "W", add_one},
    {"layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", "W", add_one},
});

constexpr auto kGemma =
    join_rules(kGemmaBlock,
               std::to_array<TensorRule>({{"layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W", add_one}}));

constexpr auto kGemma2 = join_rules(kGemmaBlock, kGemmaFourNorms);

constexpr auto kGemma3 =
    join_rules(kGemmaBlock, kGemmaFourNorms,
               std::to_array<TensorRule>({{"layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", "D", add_one},
                                          {"layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", "D", add_one}}));

// Readers scale by the head size unless the file says otherwise; query_pre_attn_scalar may be another number.
Status write_attention_scale(const HfModel& model, KeyWriter& keys) {
  METALLIC_ASSIGN(const double scalar, model.config.number_or({"query_pre_attn_scalar"}, 256));
  if (!(scalar > 0))
    return fail(ErrorCode::kCorrupt, "{}: query_pre_attn_scalar is {}; it must be positive", model.config.path(),
                scalar);
  if (scalar != double(model.dims['D'])) keys.number("attention.scale", 1 / std::sqrt(scalar));
  return {};
}

Status write_soft_cap(const HfModel& model, KeyWriter& keys, const char* key) {
  METALLIC_ASSIGN(const double cap, model.config.number_or({key}, 0));
  if (cap > 0) keys.number(key, cap);
  return {};
}

Status write_gemma2_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_soft_cap(model, keys, "attn_logit_softcapping"));
  METALLIC_TRY(write_soft_cap(model, keys, "final_logit_softcapping"));
  METALLIC_TRY(write_attention_scale(model, keys));
  METALLIC_ASSIGN(const int64_t window, model.config.size({"sliding_window"}));
  keys.size("attention.sliding_window", window);
  return write_layer_types(model, keys, [](int64_t layer) { return layer % 2 == 0; });
}

Status write_gemma3_keys(const HfModel& model, KeyWriter& keys) {
  const JsonObject& config = model.config;
  if (!model.rope.theta) keys.number("rope.freq_base", 1e6);
  if (!model.rope.local_theta) keys.number("rope.freq_base_swa", 1e4);
  METALLIC_TRY(write_soft_cap(model, keys, "final_logit_softcapping"));
  METALLIC_TRY(write_attention_scale(model, keys));
  METALLIC_ASSIGN(const int64_t period, config.size_or({"sliding_window_pattern"}, 6));
  METALLIC_ASSIGN(const int64_t window, config.size({"sliding_window"}));
  if (period == 1) return {};
  keys.size("attention.sliding_window", window);
  if (config.has({"layer_types"}))
    return write_layer_types(model, keys, [](int64_t layer) { return (layer + 1) % 6 != 0; });
  if (period == 6) return {};
  std::vector<bool> local;
  for (int64_t i = 0; i < model.dims['L']; ++i) local.push_back((i + 1) % period != 0);
  keys.flags("attention.sliding_window_pattern", local);
  return {};
}

// Released config.json files of Gemma 3 leave much of this out.
constexpr std::string_view kGemmaDefaults = R"({"rms_norm_eps": 1e-6, "head_dim": 256, "tie_word_embeddings": true})";
constexpr std::string_view kGemma2Defaults = R"({"rms_norm_eps": 1e-6, "head_dim": 256, "num_key_value_heads": 4,
    "sliding_window": 4096, "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50, "final_logit_softcapping": 30})";
constexpr std::string_view kGemma3Defaults = R"({"rms_norm_eps": 1e-6, "head_dim": 256, "num_attention_heads": 8,
    "num_key_value_heads": 4, "vocab_size": 262208, "max_position_embeddings": 131072, "sliding_window": 4096,
    "query_pre_attn_scalar": 256})";
constexpr std::string_view kGemmaNames[] = {"GemmaForCausalLM"};
constexpr std::string_view kGemma2Names[] = {"Gemma2ForCausalLM"};
constexpr std::string_view kGemma3Names[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"};
constexpr std::string_view kGemma3Prefixes[] = {"language_model.model.", "model.language_model.", "language_model.",
                                                "model."};
constexpr std::string_view kGemma3Dropped[] = {"vision_tower.", "multi_modal_projector.", "rotary_emb.inv_freq"};

}  // namespace

const ConvertArch& convert_gemma() {
  static constexpr ConvertArch kArch{
      .hf_names = kGemmaNames, .name = "gemma", .rules = kGemma, .defaults = kGemmaDefaults};
  return kArch;
}

const ConvertArch& convert_gemma2() {
  static constexpr ConvertArch kArch{.hf_names = kGemma2Names,
                                     .name = "gemma2",
                                     .rules = kGemma2,
                                     .write_keys = write_gemma2_keys,
                                     .defaults = kGemma2Defaults};
  return kArch;
}

const ConvertArch& convert_gemma3() {
  static constexpr ConvertArch kArch{.hf_names = kGemma3Names,
                                     .name = "gemma3",
                                     .rules = kGemma3,
                                     .options = {kGemma3Prefixes, kGemma3Dropped},
                                     .write_keys = write_gemma3_keys,
                                     .defaults = kGemma3Defaults};
  return kArch;
}

}  // namespace metallic::convert

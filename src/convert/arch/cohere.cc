// Command R (Cohere) and Command R7B (Cohere2): parallel blocks with one layer norm without bias, rope over neighbours
// in the checkpoint too.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kShared = join_rules(kAttention, kGatedFeedForward,
                                    std::to_array<TensorRule>({
                                        {"embed_tokens", "token_embd", "VW"},
                                        {"lm_head", "", ""},  // the embedding
                                        {"norm", "output_norm", "W"},
                                        {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
                                    }));

constexpr auto kCohere =
    join_rules(kShared, std::to_array<TensorRule>({
                            {"layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", "HD", copy_tensor, false},
                            {"layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", "KD", copy_tensor, false},
                        }));

Status write_cohere_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_ASSIGN(const double scale, model.config.number_or({"logit_scale"}, 0.0625));
  keys.number("logit_scale", scale);
  keys.text("rope.scaling.type", "none");
  // Released files have 8192 as max_position_embeddings and the true length here.
  METALLIC_ASSIGN(const int64_t context, model.config.size_or({"model_max_length"}, model.dims['C']));
  if (context > 0) keys.size("context_length", context);
  return {};
}

Status write_cohere2_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_TRY(write_cohere_keys(model, keys));
  METALLIC_TRY(write_rotated_dims(model, keys));
  METALLIC_ASSIGN(const int64_t window, model.config.size_or({"sliding_window"}, 4096));
  keys.size("attention.sliding_window", window);
  return write_layer_types(
      model, keys, [](int64_t layer) { return (layer + 1) % 4 != 0; }, true);
}

constexpr std::string_view kCohereNames[] = {"CohereForCausalLM"};
constexpr std::string_view kCohere2Names[] = {"Cohere2ForCausalLM"};

}  // namespace

const ConvertArch& convert_cohere() {
  static constexpr ConvertArch kArch{.hf_names = kCohereNames,
                                     .name = "command-r",
                                     .rules = kCohere,
                                     .write_keys = write_cohere_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "command-r"};
  return kArch;
}

const ConvertArch& convert_cohere2() {
  static constexpr ConvertArch kArch{.hf_names = kCohere2Names,
                                     .name = "cohere2",
                                     .rules = kShared,
                                     .write_keys = write_cohere2_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "command-r"};
  return kArch;
}

}  // namespace metallic::convert

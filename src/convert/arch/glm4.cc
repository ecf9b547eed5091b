// GLM-4 (0414): norms before and after attention and feed-forward, gate and up in one matrix, partial rope over
// neighbours.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kRules = join_rules(kEnds, kNormsBefore, kAttention,
                                   std::to_array<TensorRule>({
                                       {"layers.{b}.post_self_attn_layernorm", "blk.{b}.post_attention_norm", "W"},
                                       {"layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up", "GW"},
                                       {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF"},
                                       {"layers.{b}.post_mlp_layernorm", "blk.{b}.post_ffw_norm", "W"},
                                   }));

Status write_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("rope.dimension_count", rotated_dims(model, 0.5));
  return {};
}

constexpr std::string_view kNames[] = {"Glm4ForCausalLM"};

}  // namespace

const ConvertArch& convert_glm4() {
  static constexpr ConvertArch kArch{
      .hf_names = kNames,
      .name = "glm4",
      .rules = kRules,
      .write_keys = write_keys,
      .activations = kSilu,
      .pre_tokenizer = "glm4",
      .defaults = R"({"rms_norm_eps": 1.5625e-7, "num_key_value_heads": 2, "head_dim": 128})"};
  return kArch;
}

}  // namespace metallic::convert

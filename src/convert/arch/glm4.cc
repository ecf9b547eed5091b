// GLM-4 (0414): norms before and after attention and feed-forward, gate and up in one matrix, partial rope over
// neighbours.
#include "base/error.h"
#include "convert/arch/archs.h"

namespace metallic::convert {
namespace {

constexpr TensorRule kRules[] = {
    {"embed_tokens", "token_embd", "VW"},
    {"norm", "output_norm", "W"},
    {"lm_head", "output", "VW", copy_tensor, false},
    {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
    {"layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", "QW"},
    {"layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", "RW"},
    {"layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", "RW"},
    {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WQ"},
    {"layers.{b}.post_self_attn_layernorm", "blk.{b}.post_attention_norm", "W"},
    {"layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W"},
    {"layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up", "GW"},
    {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF"},
    {"layers.{b}.post_mlp_layernorm", "blk.{b}.post_ffw_norm", "W"},
};

Status write_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("rope.dimension_count", int64_t(model.rope.partial.value_or(0.5) * double(model.dims['D'])));
  return {};
}

constexpr std::string_view kNames[] = {"Glm4ForCausalLM"};

}  // namespace

const ConvertArch& convert_glm4() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "glm4",
                                     .rules = kRules,
                                     .options = {kModelPrefix, kRotaryBuffers},
                                     .write_keys = write_keys,
                                     .activations = kSilu,
                                     .pre_tokenizer = "glm4"};
  return kArch;
}

}  // namespace metallic::convert

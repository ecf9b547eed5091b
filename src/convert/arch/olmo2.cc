// OLMo 2: norms after attention and feed-forward, none before, and over whole rows of Q and K.
#include "base/error.h"
#include "convert/arch/archs.h"

namespace metallic::convert {
namespace {

constexpr TensorRule kRules[] = {
    {"embed_tokens", "token_embd", "VW"},
    {"norm", "output_norm", "W"},
    {"lm_head", "output", "VW", copy_tensor, false},
    {"layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", "QW"},
    {"layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", "RW"},
    {"layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", "RW"},
    {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WQ"},
    {"layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", "Q"},
    {"layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", "R"},
    {"layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", "W"},
    {"layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate", "FW"},
    {"layers.{b}.mlp.up_proj", "blk.{b}.ffn_up", "FW"},
    {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF"},
    {"layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", "W"},
};

constexpr std::string_view kNames[] = {"Olmo2ForCausalLM"};

}  // namespace

const ConvertArch& convert_olmo2() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "olmo2",
                                     .rules = kRules,
                                     .options = {kModelPrefix, kRotaryBuffers},
                                     .activations = kSilu,
                                     .pre_tokenizer = "dbrx"};
  return kArch;
}

}  // namespace metallic::convert

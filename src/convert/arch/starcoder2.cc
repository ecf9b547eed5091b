// StarCoder2: layer norms, biases everywhere, a feed-forward part of two matrices.
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
    {"layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W"},
    {"layers.{b}.mlp.c_fc", "blk.{b}.ffn_up", "FW"},
    {"layers.{b}.mlp.c_proj", "blk.{b}.ffn_down", "WF"},
};

Status write_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_ASSIGN(const int64_t window, window_of(model.config));
  if (window > 0) keys.size("attention.sliding_window", window);
  return {};
}

constexpr std::string_view kNames[] = {"Starcoder2ForCausalLM"};

}  // namespace

const ConvertArch& convert_starcoder2() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "starcoder2",
                                     .rules = kRules,
                                     .options = {kModelPrefix, kRotaryBuffers},
                                     .write_keys = write_keys,
                                     .activations = kGeluTanh};
  return kArch;
}

}  // namespace metallic::convert

// GPT-NeoX and Pythia: Q, K, V interleaved by head in one matrix, partial rope, mostly parallel residuals.
#include "base/error.h"
#include "convert/arch/archs.h"

namespace metallic::convert {
namespace {

// Rows (heads, 3, D) -> (3, heads, D).
Status gather_qkv(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  return plan.add(match.to.front(), match.shape(), match.view().split(0, {dims['H'], 3, dims['D']}).swap(0, 1));
}

constexpr TensorRule kRules[] = {
    {"gpt_neox.layers.{b}.attention.bias", "", ""},  // buffers of the causal mask, not parameters
    {"gpt_neox.layers.{b}.attention.masked_bias", "", ""},
    {"gpt_neox.embed_in", "token_embd", "VW"},
    {"gpt_neox.final_layer_norm", "output_norm", "W"},
    {"embed_out", "output", "VW", copy_tensor, false},
    {"lm_head", "output", "VW", copy_tensor, false},
    {"gpt_neox.layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
    {"gpt_neox.layers.{b}.attention.query_key_value", "blk.{b}.attn_qkv", "TW", gather_qkv},
    {"gpt_neox.layers.{b}.attention.dense", "blk.{b}.attn_output", "WW"},
    {"gpt_neox.layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", "W"},
    {"gpt_neox.layers.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up", "FW"},
    {"gpt_neox.layers.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down", "WF"},
};

Status set_dims(HfModel& model) {
  model.dims.set('T', 3 * model.dims['W']);
  if (model.dims['Q'] != model.dims['W'] || model.dims['K'] != model.dims['H'])
    return fail(ErrorCode::kCorrupt, "{}: GPT-NeoX needs hidden_size = heads x head size and no KV heads of their own",
                model.config.path());
  return {};
}

Status write_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("rope.dimension_count", rotated_dims(model, 0.25));
  METALLIC_ASSIGN(const bool parallel, model.config.flag_or({"use_parallel_residual"}, true));
  keys.flag("use_parallel_residual", parallel);
  return {};
}

constexpr std::string_view kNames[] = {"GPTNeoXForCausalLM"};

}  // namespace

const ConvertArch& convert_gpt_neox() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "gptneox",
                                     .rules = kRules,
                                     .options = {{}, kRotaryBuffers},
                                     .set_dims = set_dims,
                                     .write_keys = write_keys,
                                     .activations = kGelu};
  return kArch;
}

}  // namespace metallic::convert

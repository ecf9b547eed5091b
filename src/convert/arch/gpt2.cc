// GPT-2: learnt positions, matrices stored (in, out), biases everywhere.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/transforms.h"

namespace metallic::convert {
namespace {

constexpr TensorRule kRules[] = {
    {"h.{b}.attn.bias", "", ""},  // buffers of the causal mask, not parameters
    {"h.{b}.attn.masked_bias", "", ""},
    {"wte", "token_embd", "VW"},
    {"wpe", "position_embd", "CW"},
    {"ln_f", "output_norm", "W"},
    {"lm_head", "output", "VW", copy_tensor, false},
    {"h.{b}.ln_1", "blk.{b}.attn_norm", "W"},
    {"h.{b}.attn.c_attn", "blk.{b}.attn_qkv", "WT/T", transpose_matrix},
    {"h.{b}.attn.c_proj", "blk.{b}.attn_output", "WW/W", transpose_matrix},
    {"h.{b}.ln_2", "blk.{b}.ffn_norm", "W"},
    {"h.{b}.mlp.c_fc", "blk.{b}.ffn_up", "WF/F", transpose_matrix},
    {"h.{b}.mlp.c_proj", "blk.{b}.ffn_down", "FW/W", transpose_matrix},
};

Status set_dims(HfModel& model) {
  METALLIC_TRY(refuse_flags(model.config, {"scale_attn_by_inverse_layer_idx"}));
  METALLIC_ASSIGN(const bool scaled, model.config.flag_or({"scale_attn_weights"}, true));
  if (!scaled)
    return fail(ErrorCode::kUnsupported, "{}: scale_attn_weights is false, which GGUF cannot say", model.config.path());
  model.dims.set('T', 3 * model.dims['W']);
  if (!model.dims.has('F')) model.dims.set('F', 4 * model.dims['W']);
  return {};
}

constexpr std::string_view kNames[] = {"GPT2LMHeadModel"};
constexpr std::string_view kPrefixes[] = {"transformer."};

}  // namespace

const ConvertArch& convert_gpt2() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "gpt2",
                                     .rules = kRules,
                                     .options = {kPrefixes, {}},
                                     .set_dims = set_dims,
                                     .activations = kGeluTanh};
  return kArch;
}

}  // namespace metallic::convert

// GPT-OSS: attention sinks, experts with biases whose gate and up rows alternate, in MXFP4 or as plain (in, out)
// matrices.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

// (experts, in, out) -> (experts, out, in)
Status transpose_experts(const RuleMatch& match, const Dims&, TensorPlan& plan) {
  const std::vector<int64_t> shape = match.shape();
  return plan.add(match.to[0], {shape[0], shape[2], shape[1]}, match.view().swap(1, 2));
}

// (experts, in, 2 F) or, for a bias, (experts, 2 F): even columns are the gate's, odd ones up's.
Status split_gate_up(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  const int axis = int(match.shape().size()) - 1;
  for (const int odd : {0, 1}) {
    const WeightView half = match.view().slice(axis, odd, dims['G'], 2);
    if (axis == 1)
      METALLIC_TRY(plan.add(match.to[size_t(odd)], {dims['E'], dims['F']}, half));
    else
      METALLIC_TRY(plan.add(match.to[size_t(odd)], {dims['E'], dims['F'], dims['W']}, half.swap(1, 2)));
  }
  return {};
}

// Codes (rank 4) or scales (rank 3).
Status add_mxfp4(const std::string& name, const WeightView& view, TensorPlan& plan) {
  if (view.tensor().info->type != SafetensorsType::kU8)
    return fail(ErrorCode::kUnsupported, "{}: the tensor {} must be of type U8", view.tensor().file->path(),
                view.tensor().name());
  return view.rank() == 4 ? plan.add_mxfp4_codes(name, view) : plan.add_mxfp4_scales(name, view);
}

Status copy_mxfp4(const RuleMatch& match, const Dims&, TensorPlan& plan) {
  return add_mxfp4(match.to[0], match.view(), plan);
}

// Even rows are the gate's, odd ones up's.
Status split_mxfp4(const RuleMatch& match, const Dims& dims, TensorPlan& plan) {
  METALLIC_TRY(add_mxfp4(match.to[0], match.view().slice(1, 0, dims['G'], 2), plan));
  return add_mxfp4(match.to[1], match.view().slice(1, 1, dims['G'], 2), plan);
}

constexpr auto kRules = join_rules(
    kEnds, kAttention,
    std::to_array<TensorRule>({
        {"layers.{b}.input_layernorm", "blk.{b}.attn_norm", "W"},
        {"layers.{b}.self_attn.sinks", "blk.{b}.attn_sinks", "H"},
        {"layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", "W"},
        {"layers.{b}.mlp.router", "blk.{b}.ffn_gate_inp", "EW"},
        {"layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EWG", split_gate_up},
        {"layers.{b}.mlp.experts.gate_up_proj_bias", "blk.{b}.ffn_gate_exps.bias,blk.{b}.ffn_up_exps.bias", "EG",
         split_gate_up},
        {"layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", "EFW", transpose_experts},
        {"layers.{b}.mlp.experts.down_proj_bias", "blk.{b}.ffn_down_exps.bias", "EW"},
        {"layers.{b}.mlp.experts.gate_up_proj_blocks", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EGw9",
         split_mxfp4},
        {"layers.{b}.mlp.experts.gate_up_proj_scales", "blk.{b}.ffn_gate_exps,blk.{b}.ffn_up_exps", "EGw", split_mxfp4},
        {"layers.{b}.mlp.experts.down_proj_blocks", "blk.{b}.ffn_down_exps", "EWf9", copy_mxfp4},
        {"layers.{b}.mlp.experts.down_proj_scales", "blk.{b}.ffn_down_exps", "EWf", copy_mxfp4},
    }));

Status set_dims(HfModel& model) {
  METALLIC_ASSIGN(const int64_t experts, model.config.size({"num_local_experts", "num_experts"}));
  Dims& dims = model.dims;
  if (!dims.has('F')) return {};
  const auto blocks = [](int64_t columns) { return columns % 32 == 0 ? columns / 32 : 0; };
  dims.set('E', experts);
  dims.set('w', blocks(dims['W']));
  dims.set('f', blocks(dims['F']));
  dims.set('9', 16);
  return {};
}

Status write_keys(const HfModel& model, KeyWriter& keys) {
  METALLIC_ASSIGN(const int64_t window, model.config.size({"sliding_window"}));
  METALLIC_ASSIGN(const double limit, model.config.number_or({"swiglu_limit"}, 7));
  if (limit != 7)
    return fail(ErrorCode::kUnsupported, "{}: swiglu_limit is {}; readers of GGUF know only 7", model.config.path(),
                limit);
  keys.size("attention.sliding_window", window);
  keys.size("expert_feed_forward_length", model.dims['F']);
  METALLIC_ASSIGN(const int64_t used, model.config.size_or({"num_experts_per_tok", "experts_per_token"}, 4));
  keys.size("expert_used_count", used);
  return write_layer_types(model, keys, [](int64_t layer) { return layer % 2 == 0; });
}

constexpr std::string_view kNames[] = {"GptOssForCausalLM"};

}  // namespace

const ConvertArch& convert_gpt_oss() {
  static constexpr ConvertArch kArch{
      .hf_names = kNames,
      .name = "gpt-oss",
      .rules = kRules,
      .set_dims = set_dims,
      .write_keys = write_keys,
      .defaults =
          R"({"head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128, "num_local_experts": 128, "rope_theta": 150000})"};
  return kArch;
}

}  // namespace metallic::convert

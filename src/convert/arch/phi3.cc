// Phi-3 and Phi-4-mini: Q, K, V in one matrix, gate and up in one, long rope.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kRules = join_rules(kEnds, kNormsBefore,
                                   std::to_array<TensorRule>({
                                       {"layers.{b}.self_attn.qkv_proj", "blk.{b}.attn_qkv", "TW"},
                                       {"layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", "WQ"},
                                       {"layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up", "GW"},
                                       {"layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", "WF"},
                                   }));

Status set_dims(HfModel& model) {
  model.dims.set('T', model.dims['Q'] + 2 * model.dims['R']);
  return {};
}

Status write_keys(const HfModel& model, KeyWriter& keys) {
  keys.size("rope.dimension_count", rotated_dims(model));
  keys.size("rope.scaling.original_context_length", model.rope.original_context);
  METALLIC_ASSIGN(const int64_t window, window_of(model.config));
  keys.size("attention.sliding_window", window);
  return write_long_rope_keys(model.rope, keys);
}

Status add_tensors(const HfModel& model, TensorPlan& plan) {
  return add_long_rope_factors(model.rope, rotated_dims(model), plan);
}

constexpr std::string_view kNames[] = {"Phi3ForCausalLM"};

}  // namespace

const ConvertArch& convert_phi3() {
  static constexpr ConvertArch kArch{.hf_names = kNames,
                                     .name = "phi3",
                                     .rules = kRules,
                                     .set_dims = set_dims,
                                     .write_keys = write_keys,
                                     .add_tensors = add_tensors,
                                     .activations = kSilu};
  return kArch;
}

}  // namespace metallic::convert

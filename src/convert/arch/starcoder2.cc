// StarCoder2: layer norms, biases everywhere, a feed-forward part of two matrices.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kRules = join_rules(kEnds, kNormsBefore, kAttention,
                                   std::to_array<TensorRule>({
                                       {"layers.{b}.mlp.c_fc", "blk.{b}.ffn_up", "FW"},
                                       {"layers.{b}.mlp.c_proj", "blk.{b}.ffn_down", "WF"},
                                   }));

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
                                     .write_keys = write_keys,
                                     .activations = kGeluTanh,
                                     .defaults = R"({"num_key_value_heads": 2})"};
  return kArch;
}

}  // namespace metallic::convert

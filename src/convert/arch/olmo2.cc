// OLMo 2: norms after attention and feed-forward, none before, and over whole rows of Q and K.
#include "base/error.h"
#include "convert/arch/archs.h"
#include "convert/common_rules.h"

namespace metallic::convert {
namespace {

constexpr auto kRules = join_rules(kEnds, kAttention, kGatedFeedForward,
                                   std::to_array<TensorRule>({
                                       {"layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", "Q"},
                                       {"layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", "R"},
                                       {"layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", "W"},
                                       {"layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", "W"},
                                   }));

constexpr std::string_view kNames[] = {"Olmo2ForCausalLM"};

}  // namespace

const ConvertArch& convert_olmo2() {
  static constexpr ConvertArch kArch{
      .hf_names = kNames, .name = "olmo2", .rules = kRules, .activations = kSilu, .pre_tokenizer = "dbrx"};
  return kArch;
}

}  // namespace metallic::convert

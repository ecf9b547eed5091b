// gpt-oss: attention sinks, a window in every other layer, experts with biases and a clamped gate.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& gpt_oss_spec() {
  // ffn_norm: its name in the files; it stands before the experts.
  static constexpr ArchSpec kSpec{.name = "gpt-oss",
                                  .activation = Activation::kGeluQuick,
                                  .gate_clamp = 7.0f,
                                  .global_every = 2,
                                  .ffn_norm = "post_attention_norm"};
  return kSpec;
}

}  // namespace metallic

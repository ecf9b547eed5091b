// GPT-2: layer norms, learned positions, biases everywhere.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& gpt2_spec() {
  static constexpr ArchSpec kSpec{
      .name = "gpt2", .norm = NormKind::kLayer, .rope = false, .activation = Activation::kGeluTanh, .gated = false};
  return kSpec;
}

}  // namespace metallic

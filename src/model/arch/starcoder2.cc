// StarCoder2 (arXiv:2402.19173): layer norms and biases around grouped-query attention with rope.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& starcoder2_spec() {
  static constexpr ArchSpec kSpec{
      .name = "starcoder2", .norm = NormKind::kLayer, .activation = Activation::kGeluTanh, .gated = false};
  return kSpec;
}

}  // namespace metallic

// Gemma (arXiv:2403.08295): scaled embeddings, a gated GELU.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& gemma_spec() {
  static constexpr ArchSpec kSpec{.name = "gemma", .activation = Activation::kGeluTanh, .scale_embedding = true};
  return kSpec;
}

}  // namespace metallic

// Nomic Embed v2 (arXiv:2502.07972): BERT with rope; every second feed-forward part is a mixture of experts, whose
// weights are the softmax's, as they are.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& nomic_bert_moe_spec() {
  static constexpr ArchSpec kSpec{.name = "nomic-bert-moe",
                                  .norm = NormKind::kLayer,
                                  .norms_before = false,
                                  .norms_residual = true,
                                  .activation = Activation::kGelu,
                                  .gated = false,
                                  .normalise_experts = false,
                                  .encoder = true};
  return kSpec;
}

}  // namespace metallic

// BERT (arXiv:1810.04805): an encoder with norms behind each part; learned positions, token types.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& bert_spec() {
  static constexpr ArchSpec kSpec{.name = "bert",
                                  .norm = NormKind::kLayer,
                                  .norms_before = false,
                                  .norms_residual = true,
                                  .rope = false,
                                  .activation = Activation::kGelu,
                                  .gated = false,
                                  .encoder = true};
  return kSpec;
}

}  // namespace metallic

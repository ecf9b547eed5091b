// ModernBERT (arXiv:2412.13663): an encoder with norms before, local windows on both sides, a gated GELU.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& modern_bert_spec() {
  static constexpr ArchSpec kSpec{.name = "modern-bert",
                                  .norm = NormKind::kLayer,
                                  .activation = Activation::kGelu,
                                  .global_every = 3,
                                  .first_global = true,
                                  .encoder = true};
  return kSpec;
}

}  // namespace metallic

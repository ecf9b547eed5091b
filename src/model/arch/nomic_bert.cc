// Nomic Embed (arXiv:2402.01613): BERT with rope and a gated feed-forward.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& nomic_bert_spec() {
  static constexpr ArchSpec kSpec{
      .name = "nomic-bert", .norm = NormKind::kLayer, .norms_before = false, .norms_residual = true, .encoder = true};
  return kSpec;
}

}  // namespace metallic

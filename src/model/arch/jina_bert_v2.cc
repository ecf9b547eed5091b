// Jina Embeddings 2 (arXiv:2310.19923): BERT with linear biases (ALiBi, both ways) in place of positions and a gated
// GELU; the model for code also has norms of Q and K and a second norm after attention.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& jina_bert_v2_spec() {
  static constexpr ArchSpec kSpec{.name = "jina-bert-v2",
                                  .norm = NormKind::kLayer,
                                  .norms_before = false,
                                  .norms_residual = true,
                                  .rope = false,
                                  .alibi = 8,
                                  .activation = Activation::kGelu,
                                  .encoder = true};
  return kSpec;
}

}  // namespace metallic

// Gemma 3, text (arXiv:2503.19786): five local layers to each global one, norms before and after each part, scaled
// embeddings.
#include <cmath>

#include "model/arch_spec.h"
#include "model/config.h"

namespace metallic {
namespace {

// The 27B model (62 blocks) scales its queries by the embedding length per head, the others by the head's own size.
void set_attention_scale(Config& config) {
  constexpr int kBlocksOf27B = 62;
  if (config.layers == kBlocksOf27B) config.attention_scale = 1.0f / std::sqrt(float(config.width / config.heads));
}

}  // namespace

const ArchSpec& gemma3_spec() {
  static constexpr ArchSpec kSpec{.name = "gemma3",
                                  .activation = Activation::kGeluTanh,
                                  .scale_embedding = true,
                                  .global_every = 6,
                                  .local_rope_base = 10000.0f,
                                  .adjust = set_attention_scale};
  return kSpec;
}

}  // namespace metallic

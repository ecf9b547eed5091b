// Gemma 2 (arXiv:2408.00118): local and global layers in turn, norms before and after each part, soft caps.
#include <cmath>

#include "model/arch/specs.h"
#include "model/config.h"

namespace metallic {
namespace {

// The 27B model (46 blocks) scales its queries by the embedding length per head, the others by the head's own size.
void set_attention_scale(Config& config) {
  constexpr int kBlocksOf27B = 46;
  if (config.layers == kBlocksOf27B && !config.attention_scale_given)
    config.attention_scale = 1.0f / std::sqrt(float(config.width / config.heads));
}

}  // namespace

const ArchSpec& gemma2_spec() {
  static constexpr ArchSpec kSpec{.name = "gemma2",
                                  .norms_after = true,
                                  .activation = Activation::kGeluTanh,
                                  .scale_embedding = true,
                                  .global_every = 2,
                                  .adjust = set_attention_scale};
  return kSpec;
}

}  // namespace metallic

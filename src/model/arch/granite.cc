// Granite 3: Llama with factors on embeddings, residuals, attention and logits.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& granite_spec() {
  static constexpr ArchSpec kSpec{
      .name = "granite", .rope_style = RopeStyle::kInterleaved, .logit_scale_divides = true};
  return kSpec;
}

}  // namespace metallic

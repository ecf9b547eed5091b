// GLM-4-0414: norms before and after each part, partial rope on neighbours, a fused feed-forward.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& glm4_spec() {
  static constexpr ArchSpec kSpec{.name = "glm4", .norms_after = true, .rope_style = RopeStyle::kInterleaved};
  return kSpec;
}

}  // namespace metallic

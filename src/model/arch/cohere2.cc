// Command R7B: three local layers with rope to one global layer without.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& cohere2_spec() {
  static constexpr ArchSpec kSpec{.name = "cohere2",
                                  .norm = NormKind::kLayer,
                                  .rope_style = RopeStyle::kInterleaved,
                                  .parallel_residual = true,
                                  .global_every = 4,
                                  .no_rope_every = 4};
  return kSpec;
}

}  // namespace metallic

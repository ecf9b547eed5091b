// Phi-3 and Phi-4 (arXiv:2404.14219): fused projections, long rope factors, found by presence.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& phi3_spec() {
  static constexpr ArchSpec kSpec{.name = "phi3"};
  return kSpec;
}

}  // namespace metallic

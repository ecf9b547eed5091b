// Granite 3 MoE: Granite with experts, and maybe a shared one.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& granitemoe_spec() {
  static constexpr ArchSpec kSpec{
      .name = "granitemoe", .rope_style = RopeStyle::kInterleaved, .logit_scale_divides = true};
  return kSpec;
}

}  // namespace metallic

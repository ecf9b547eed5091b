// SmolLM3: Llama with every fourth layer without rope (NoPE, arXiv:2501.18795).
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& smollm3_spec() {
  static constexpr ArchSpec kSpec{.name = "smollm3", .rope_style = RopeStyle::kInterleaved, .no_rope_every = 4};
  return kSpec;
}

}  // namespace metallic

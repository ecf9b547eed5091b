// Qwen1.5-MoE and Qwen2-MoE: experts beside one shared expert with a gate of its own.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& qwen2moe_spec() {
  static constexpr ArchSpec kSpec{.name = "qwen2moe", .normalise_experts = false};
  return kSpec;
}

}  // namespace metallic

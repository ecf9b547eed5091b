// Qwen3-MoE (arXiv:2505.09388).
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& qwen3moe_spec() {
  static constexpr ArchSpec kSpec{.name = "qwen3moe", .head_norms = true};
  return kSpec;
}

}  // namespace metallic

// Qwen2 and Qwen2.5 (arXiv:2407.10671): biases on Q, K and V, found by presence.
#include "model/arch_spec.h"

namespace metallic {

const ArchSpec& qwen2_spec() {
  static constexpr ArchSpec kSpec{.name = "qwen2"};
  return kSpec;
}

}  // namespace metallic

// Qwen3 (arXiv:2505.09388): a norm on each head of Q and K, found by presence; no biases.
#include "model/arch_spec.h"

namespace metallic {

const ArchSpec& qwen3_spec() {
  static constexpr ArchSpec kSpec{.name = "qwen3"};
  return kSpec;
}

}  // namespace metallic

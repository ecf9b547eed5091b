// StableLM (arXiv:2402.17834): layer norms, partial rope, maybe a norm for each head of Q and K.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& stablelm_spec() {
  static constexpr ArchSpec kSpec{.name = "stablelm", .norm = NormKind::kLayer};
  return kSpec;
}

}  // namespace metallic

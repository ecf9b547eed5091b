// OLMo 2 (arXiv:2501.00656): norms behind attention and feed-forward instead of before, and on whole rows of Q and K.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& olmo2_spec() {
  static constexpr ArchSpec kSpec{.name = "olmo2", .norms_before = false, .norms_after = true, .head_norms = true};
  return kSpec;
}

}  // namespace metallic

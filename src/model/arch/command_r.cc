// Command R: one layer norm for attention and feed-forward in parallel; scaled logits.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& command_r_spec() {
  static constexpr ArchSpec kSpec{
      .name = "command-r", .norm = NormKind::kLayer, .rope_style = RopeStyle::kInterleaved, .parallel_residual = true};
  return kSpec;
}

}  // namespace metallic

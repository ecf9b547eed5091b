// Llama 1 to 3 and what shares their graph: Mistral, SmolLM2, ... (arXiv:2302.13971).
#include "model/arch_spec.h"

namespace metallic {

const ArchSpec& llama_spec() {
  // Converters reorder the rows of Q and K so that rotated pairs are neighbours.
  static constexpr ArchSpec kSpec{.name = "llama", .rope_style = RopeStyle::kInterleaved};
  return kSpec;
}

}  // namespace metallic

// Llama 1 to 3 and what shares their graph: Mistral, Mixtral, SmolLM2 (arXiv:2302.13971, arXiv:2401.04088).
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& llama_spec() {
  // rope_style: converters reorder the rows of Q and K so that rotated pairs are neighbours.
  static constexpr ArchSpec kSpec{.name = "llama", .rope_style = RopeStyle::kInterleaved};
  return kSpec;
}

}  // namespace metallic

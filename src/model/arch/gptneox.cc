// GPT-NeoX and Pythia (arXiv:2204.06745): partial rope; attention and feed-forward in parallel, if the file says so.
#include "model/arch/specs.h"

namespace metallic {

const ArchSpec& gptneox_spec() {
  static constexpr ArchSpec kSpec{.name = "gptneox",
                                  .norm = NormKind::kLayer,
                                  .activation = Activation::kGelu,
                                  .gated = false,
                                  .parallel_residual = true};
  return kSpec;
}

}  // namespace metallic

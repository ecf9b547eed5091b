// DeepSeek-V2 and V3 (arXiv:2405.04434, arXiv:2412.19437): latent attention; dense layers first, then experts beside
// shared ones.
#include <cmath>

#include "model/arch/specs.h"
#include "model/config.h"

namespace metallic {
namespace {

// With yarn, attention is scaled by the square of 1 + multiplier * ln(factor), and the rotated parts keep their size.
void set_attention_scale(Config& config) {
  if (config.rope.yarn_log_multiplier <= 0 || config.rope.factor <= 1) return;
  const float size = 1.0f + config.rope.yarn_log_multiplier * std::log(config.rope.factor);
  config.attention_scale *= size * size;
  if (!config.rope.magnitude_given) config.rope.magnitude = 1.0f;
}

}  // namespace

const ArchSpec& deepseek2_spec() {
  static constexpr ArchSpec kSpec{.name = "deepseek2",
                                  .rope_style = RopeStyle::kInterleaved,
                                  .normalise_experts = false,
                                  .adjust = set_attention_scale};
  return kSpec;
}

}  // namespace metallic

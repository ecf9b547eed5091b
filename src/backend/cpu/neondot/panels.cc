// The panel kernels for 64-bit ARM with the dot-product instructions.
#include "backend/cpu/panels.h"

#include <arm_neon.h>

#include <bit>
#include <utility>

#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/neon_panel_primitives.h"

struct P : NeonPanels {
  template <bool>
  static I dot(I sum, C codes, T token) {
    return vdotq_s32(sum, vreinterpretq_s8_u8(codes), token);
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& neondot_panels() {
  static const PanelKernels kernels = make_panel_kernels("neondot", "neon");
  return kernels;
}

}  // namespace metallic::cpu

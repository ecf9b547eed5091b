// The panel kernels for 64-bit ARM.
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
    const int8x16_t c = vreinterpretq_s8_u8(codes);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(c), vget_low_s8(token)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(c, token));
    return vaddq_s32(sum, vpaddq_s32(low, high));
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& neon_panels() {
  static const PanelKernels kernels = make_panel_kernels("neon", "neon");
  return kernels;
}

}  // namespace metallic::cpu

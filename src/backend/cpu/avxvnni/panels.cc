// The panel kernels for AVX2 with AVX-VNNI. As in ../avx512/kernels.cc nothing here may be visible to the linker under
// a name that other files share.
#include "backend/cpu/panels.h"

#include <immintrin.h>

#include <bit>
#include <utility>

#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/avx2_panel_primitives.h"

struct P : Avx2Panels {
  static constexpr int kTokens = 3, kPanels = 2;
  static constexpr int kSignedBias = 128;  // the instruction wants the weights' codes unsigned

  template <bool>
  static I dot(I sum, C codes, T token) {
    return _mm256_dpbusd_avx_epi32(sum, codes, token);
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& avxvnni_panels() {
  static const PanelKernels kernels = make_panel_kernels("avxvnni", "avx2");
  return kernels;
}

}  // namespace metallic::cpu

// The panel kernels for AVX2. As in ../avx512/kernels.cc nothing here may be visible to the linker under a name that
// other files share.
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
  static constexpr int kTokens = 4, kPanels = 1;
  static constexpr int kSignedBias = 0;

  // vpmaddubsw takes unsigned bytes times signed ones and adds pairs in 16 bits, which must not saturate: codes of up
  // to six bits go in as they are; codes with a sign give it to the token, 128 * 127 * 2 < 2^15.
  template <bool kSigned>
  static I dot(I sum, C codes, T token) {
    const __m256i pairs = kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(token, codes))
                                  : _mm256_maddubs_epi16(codes, token);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& avx2_panels() {
  static const PanelKernels kernels = make_panel_kernels("avx2", "avx2");
  return kernels;
}

}  // namespace metallic::cpu

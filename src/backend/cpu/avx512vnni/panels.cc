// The panel kernels for AVX-512 with VNNI: vpdpbusd multiplies 64 unsigned codes with 64 signed ones.
//
// As in ../avx512/kernels.cc nothing here may be visible to the linker under a name that other files share.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "backend/cpu/panels.h"

#include <immintrin.h>

#include <bit>
#include <utility>

#include "quant/codebook_rows.h"
#include "quant/formats.h"

namespace metallic::cpu {
namespace {

#include "backend/cpu/avx512_panel_primitives.h"

struct [[gnu::may_alias]] Four {
  int8_t code[4];
};

struct P : Avx512Panels {
  static constexpr int kTokens = 6, kPanels = 2;
  static constexpr int kSignedBias = 128;  // the instruction wants the weights' codes unsigned

  template <bool>
  static I dot(I sum, C codes, T token) {
    return _mm512_dpbusd_epi32(sum, codes, token);
  }
  // The same with four codes of a token in memory.
  static I dot_at(I sum, C codes, const int8_t* token) {
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*reinterpret_cast<const Four*>(token)));
    return sum;
  }
};

#include "backend/cpu/simd_panel_table.h"

}  // namespace

const PanelKernels& avx512vnni_panels() {
  static const PanelKernels kernels = make_panel_kernels("avx512vnni", "avx512");
  return kernels;
}

}  // namespace metallic::cpu

// The panel kernels for processors with AMX: tiles of bytes for many tokens, AVX-512 VNNI for few.
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

// The instructions themselves: compilers' intrinsics want tiles as literals, not as template arguments. What `load`
// reads was written before the function that loads began, or is said to be by asm.
struct Tiles {
  template <class Config>
  static void configure(const Config& config) {
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  static void release() { asm volatile("tilerelease"); }
  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile));
  }
  template <int kTile, int kRows>
  static void store(int32_t (&to)[kRows][16]) {
    asm volatile("tilestored %%tmm%c3, (%1,%2,1)" : "=m"(to) : "r"(&to), "r"(sizeof(to[0])), "i"(kTile));
  }
  // sums (tokens, rows) += x (tokens, columns) * weights (columns / 4, rows, 4), all of signed bytes.
  template <int kSum, int kX, int kWeights>
  static void dot() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kX), "i"(kWeights));
  }
};

#include "backend/cpu/amxint8/tile_dots.h"

}  // namespace

const PanelKernels& amxint8_panels() {
  static const PanelKernels kernels = make_tile_kernels("amxint8");
  return kernels;
}

}  // namespace metallic::cpu

// All kernels over the primitives of one instruction set, put together in a table. Included in the unnamed namespace of
// each folder's kernels.cc, after Simd.

#include "backend/cpu/simd_direct.h"
#include "backend/cpu/simd_math.h"
#include "backend/cpu/simd_rows.h"
#include "backend/cpu/simd_tiles.h"

Kernels make_kernels(const char* name) {
  Kernels kernels = {};
  kernels.name = name;
  kernels.direct_f32 = direct_tiles<4, load_float>();
  kernels.direct_f16 = direct_tiles<2, Simd::load_half>();
  kernels.direct_bf16 = direct_tiles<2, Simd::load_bfloat16>();
  fill_tiles(kernels);
  fill_rows(kernels);
  return kernels;
}

// All kernels over the primitives of one instruction set, put together in a table. Included in the unnamed namespace of
// each folder's kernels.cc, after Simd.

#include "backend/cpu/simd_fused.h"
#include "backend/cpu/simd_math.h"
#include "backend/cpu/simd_rows.h"
#include "backend/cpu/simd_tiles.h"

Kernels make_kernels(const char* name) {
  Kernels kernels = {};
  kernels.name = name;
  kernels.fused = fused_kernel;
  fill_tiles(kernels);
  fill_rows(kernels);
  return kernels;
}

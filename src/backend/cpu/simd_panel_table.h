// All panel kernels over the primitives of one instruction set, put together in a table. Included in the unnamed
// namespace of each folder's panels.cc, after P.
#include "backend/cpu/simd_panel_formats.h"
// clang-format off: in this order each finds what it needs
#include "backend/cpu/simd_panels.h"
#include "backend/cpu/simd_panel_pack.h"
// clang-format on

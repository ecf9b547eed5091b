// All panel kernels over the primitives of one instruction set. Included in the unnamed namespace of each folder's
// panels.cc, after P. In the order of the alphabet each finds what it needs.
#include "backend/cpu/simd_panel_codes.h"
#include "backend/cpu/simd_panel_common.h"
#include "backend/cpu/simd_panel_dots.h"
#include "backend/cpu/simd_panel_entries.h"
#include "backend/cpu/simd_panel_expand.h"
#include "backend/cpu/simd_panel_formats.h"
#include "backend/cpu/simd_panel_limits.h"
#include "backend/cpu/simd_panel_listed.h"
#include "backend/cpu/simd_panel_output.h"
#include "backend/cpu/simd_panel_pack.h"

// For tests: the kernels for AMX on tiles in memory. They need AVX-512 VNNI.
#pragma once

#include <cstdint>

#include "backend/cpu/panels.h"

namespace metallic::cpu {

const PanelKernels& emulated_tile_panels();

// Of the calling thread: whether its tiles are configured, and how often they were released.
bool emulated_tiles_in_use();
int64_t emulated_releases();

}  // namespace metallic::cpu

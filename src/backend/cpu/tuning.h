// Which tile sizes (PanelTiles) are best on this processor: some milliseconds of measuring, kept for the next time.
#pragma once

#include <string_view>

#include "backend/cpu/panels.h"
#include "base/rate_cache.h"

namespace metallic::cpu {

// What the cache knows of this processor with these kernels, or what measuring gives, which the cache then knows. One
// thread multiplies for at most kTuningSeconds or so; where that is too little, the kernels' own sizes remain.
PanelTiles tune(const PanelKernels& kernels, RateCache& cache);
inline constexpr double kTuningSeconds = 0.4;
// In the cache, between the kernels' name and what was measured. A new number forgets what older kernels were best with.
inline constexpr std::string_view kTilesKey = " tiles 2: ";

// The same with the user's cache, once a process. METALLIC_TUNE=0 in the environment: the kernels' own sizes.
PanelTiles tuned_tiles(const PanelKernels& kernels);

}  // namespace metallic::cpu

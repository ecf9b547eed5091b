// Whether a result that a fused kernel need not write would be missed.
#pragma once

#include <span>

#include "backend/cuda/commands.h"

namespace metallic::cuda {

// Memory from `begin` to `end`.
struct Region {
  const char *begin, *end;
};
Region region_of(const Rows& rows, int64_t count, int64_t width);

// Whether any of `commands`, or whoever comes after them, may read what the region holds before them. False only if it
// is overwritten as a whole first.
bool may_be_read(const Region& region, std::span<const Command> commands);

}  // namespace metallic::cuda

// How much memory a matrix takes once a backend has brought it to its own layout, without doing it. The columns
// are whole blocks of the format.
#pragma once

#include <cstdint>

#include "metallic/format.h"

namespace metallic {

// In panels for this processor's kernels, or as the file has it where there is no such layout, or without `repack`.
uint64_t cpu_weight_bytes(Format format, int64_t rows, int64_t columns, bool repack = true);
// In planes, or as the file has it.
uint64_t gpu_weight_bytes(Format format, int64_t rows, int64_t columns);

}  // namespace metallic

// Large tensors to numbers on several threads.
#pragma once

#include "base/thread_pool.h"
#include "quant/dequantize.h"

namespace metallic {

// Each thread must have this many weights to be worth waking: docs/parallel-dequantisation.md.
inline constexpr int64_t kWeightsWorthAThread = 1 << 21;

// dequantize_row, and dequantize_function(format, to), over the threads of `pool`; small ones on the caller's alone.
void parallel_dequantize(Format format, const void* blocks, int64_t elements, float* out, ThreadPool& pool);
void parallel_dequantize(Format format, const void* blocks, int64_t elements, Format to, void* out, ThreadPool& pool);

}  // namespace metallic

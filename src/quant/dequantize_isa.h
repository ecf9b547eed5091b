// The dequantisers of each instruction set. All give the same bits (of a NaN, only that it is one).
#pragma once

#include "quant/dequantize.h"

namespace metallic::quant {

// A result of so many bytes and more is written around the caches: docs/parallel-dequantisation.md.
inline constexpr int64_t kStreamBytes = 32 << 20;

struct Dequantizers {
  const char* name;
  DequantizeRow (*to_float)(Format format);
  ConvertRow (*to)(Format format, Format to);  // as dequantize_function(format, to)
};

extern const Dequantizers kBaseDequantizers;    // every processor of the family: the generic code
extern const Dequantizers kAvx2Dequantizers;    // x86-64 with AVX2, FMA and F16C
extern const Dequantizers kAvx512Dequantizers;  // these and AVX-512 F, BW, DQ and VL
extern const Dequantizers kNeonDequantizers;    // 64-bit ARM

// The best for this processor.
const Dequantizers& chosen_dequantizers();

}  // namespace metallic::quant

// From float32 to every format that GGUF files store weights in: for files, at leisure. (dequantize.h has the few
// encoders that run while a model does.)
#pragma once

#include <cstdint>

#include "metallic/format.h"

namespace metallic {

// Whether quantize_rows can write `format`: all of files but the integers, F64, Q8_1 and Q8_K.
bool can_quantize(Format format);

// Encodes `rows` rows of `columns` finite weights, a multiple of the format's block, one after the other into `out`.
//
// `importance`, if not null, has one value >= 0 for each column (the mean square of what the column is multiplied
// with): the sum of importance * error^2 is what is made small. Without it Q4_0, Q4_1, Q5_0, Q5_1, TQ1_0, TQ2_0, MXFP4,
// NVFP4 and Q1_0 are llama.cpp's bytes; these last five, Q8_0, F16 and BF16 ignore it. The result is the same on every
// processor. Thread-safe.
void quantize_rows(Format format, const float* weights, int64_t rows, int64_t columns, const float* importance,
                   void* out);

}  // namespace metallic

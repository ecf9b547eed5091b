// The encoders, compiled for one instruction set each. All give the same bytes.
#pragma once

#include "quant/quantize.h"

namespace metallic::quant {

// One row of `columns` weights; null for a format that cannot be written.
using EncodeRow = void (*)(const float* weights, int64_t columns, const float* importance, void* out);

EncodeRow encode_function_base(Format format);
EncodeRow encode_function_avx2(Format format);
EncodeRow encode_function_avx512(Format format);

}  // namespace metallic::quant

// The generic dequantise, compiled for one instruction set each. All give the same bits.
#pragma once

#include "quant/dequantize.h"

namespace metallic::quant {

DequantizeRow dequantize_function_base(Format format);    // every processor of the family
DequantizeRow dequantize_function_avx2(Format format);    // x86-64 with AVX2, FMA and F16C
DequantizeRow dequantize_function_avx512(Format format);  // these and AVX-512 F, BW, DQ and VL

}  // namespace metallic::quant

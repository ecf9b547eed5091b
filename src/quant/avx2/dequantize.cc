#include "quant/dequantize_blocks.h"
#include "quant/dequantize_isa.h"

namespace metallic::quant {

DequantizeRow dequantize_function_avx2(Format format) { return dequantize_blocks_function(format); }

}  // namespace metallic::quant

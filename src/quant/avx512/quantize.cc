#include "quant/quantize_blocks.h"
#include "quant/quantize_isa.h"

namespace metallic::quant {

EncodeRow encode_function_avx512(Format format) { return encode_rows_function(format); }

}  // namespace metallic::quant

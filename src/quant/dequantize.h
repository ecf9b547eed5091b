// From any format to float32, and from float32 to the few formats that are written while a model runs.
#pragma once

#include <cstdint>

#include "metallic/format.h"

namespace metallic {

// Decodes `elements` weights, a whole number of blocks at any address, into `out`. Any bytes are valid blocks. The
// result is, bit for bit, what the format defines (Python's gguf.quants.dequantize), on every processor; only of a NaN
// the sign and the payload may differ.
using DequantizeRow = void (*)(const void* blocks, int64_t elements, float* out);

// The function for a known format and this processor: fetch it once, call it often. dequantize_row does both.
DequantizeRow dequantize_function(Format format);
void dequantize_row(Format format, const void* blocks, int64_t elements, float* out);

// The same to another format, F32, F16 or BF16, in one pass: the float32, rounded to nearest, ties to even. `out` is
// aligned for its numbers. Null if `to` is none of these.
using ConvertRow = void (*)(const void* blocks, int64_t elements, void* out);
ConvertRow dequantize_function(Format format, Format to);

// Encodes `elements` weights, a whole number of blocks. To nearest, ties to even (F16, BF16, F8_E4M3) or away from zero
// (Q8_0).
using QuantizeRow = void (*)(const float* weights, int64_t elements, void* blocks);

// Null unless `format` is F32, F16, BF16, F8_E4M3 or Q8_0.
QuantizeRow quantize_function(Format format);
void quantize_row(Format format, const float* weights, int64_t elements, void* blocks);

// Converts `elements` weights, a whole number of blocks of both formats; `to` is `from` (a copy of the bytes) or has a
// quantize_function. `source` and `target` do not overlap.
void convert_row(Format from, const void* source, Format to, void* target, int64_t elements);

}  // namespace metallic

// The dequantisers that bench/dequantize.cc measures against: the loop that defines each format, compiled for any
// processor of the family and without vectors (cmake/bench.cmake).
#pragma once

#include "quant/dequantize.h"

namespace metallic {

DequantizeRow scalar_dequantize_function(Format format);

}  // namespace metallic

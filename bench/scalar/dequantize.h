// The dequantiser that bench/dequantize.cc measures against: the loop that defines each format, compiled for any
// processor of the family and without vectors (cmake/bench.cmake).
#pragma once

#include "quant/dequantize_isa.h"

namespace metallic {

extern const quant::Dequantizers kScalarDequantizers;

}  // namespace metallic

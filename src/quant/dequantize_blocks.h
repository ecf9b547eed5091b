// The generic dequantise, written once over decode(). Each instruction set has a source file that instantiates it.
#pragma once

#include "quant/dequantize.h"
#include "quant/formats.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

// Writes the F::kBlock weights of `block`.
template <Grouped F>
void dequantize_block(const typename F::Block& block, float* out) {
  for (int group = 0; group < F::kBlock / F::kGroup; ++group, out += F::kGroup) {
    int8_t codes[F::kGroup];
    float scale, offset;
    F::decode(block, group, codes, scale, offset);
    for (int i = 0; i < F::kGroup; ++i) {
      const float product = scale * float(codes[i]);
      if constexpr (F::kHasOffset)
        out[i] = product + offset;
      else
        out[i] = product;
    }
  }
}

// A DequantizeRow.
template <class F>
void dequantize_blocks(const void* blocks, int64_t elements, float* out) {
  METALLIC_DCHECK(elements % F::kBlock == 0);
  const auto* block = static_cast<const typename F::Block*>(blocks);
  for (int64_t i = 0; i < elements / F::kBlock; ++i) {
    if constexpr (Grouped<F>)
      dequantize_block<F>(block[i], out + i * F::kBlock);
    else
      out[i] = F::to_float(block[i]);
  }
}

// The DequantizeRow of `format`, compiled for the instruction set of the including file.
inline DequantizeRow dequantize_blocks_function(Format format) {
  return visit_format(format, []<class F>(F) -> DequantizeRow { return dequantize_blocks<F>; });
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

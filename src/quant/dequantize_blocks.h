// The generic dequantise, written once over decode(): the definition that every tuned one equals bit for bit.
#pragma once

#include "quant/dequantize.h"
#include "quant/float_words.h"
#include "quant/formats.h"

namespace metallic::quant {
inline namespace METALLIC_ISA {

// Writes the F::kBlock weights of `block`.
template <Grouped F, class T>
void dequantize_block(const typename F::Block& block, T* out) {
  for (int group = 0; group < F::kBlock / F::kGroup; ++group, out += F::kGroup) {
    int8_t codes[F::kGroup];
    float scale, offset;
    F::decode(block, group, codes, scale, offset);
    for (int i = 0; i < F::kGroup; ++i) {
      const float product = scale * float(codes[i]);
      if constexpr (F::kHasOffset)
        store_number(product + offset, out + i);
      else
        store_number(product, out + i);
    }
  }
}

// A DequantizeRow with T = float.
template <class F, class T>
void dequantize_blocks(const void* blocks, int64_t elements, T* out) {
  METALLIC_DCHECK(elements % F::kBlock == 0);
  const auto* block = static_cast<const typename F::Block*>(blocks);
  for (int64_t i = 0; i < elements / F::kBlock; ++i) {
    if constexpr (Grouped<F>)
      dequantize_block<F>(block[i], out + i * F::kBlock);
    else
      store_number(F::to_float(block[i]), out + i);
  }
}

// dequantize_function(format, to), where Row<F, T>::run is the dequantiser of format F to T.
template <template <class, class> class Row>
ConvertRow convert_function(Format format, Format to) {
  return visit_any_format(format, [to]<class F>(F) -> ConvertRow {
    switch (to) {
      case Format::kF32:
        return [](const void* blocks, int64_t elements, void* out) {
          Row<F, float>::run(blocks, elements, static_cast<float*>(out));
        };
      case Format::kF16:
        return [](const void* blocks, int64_t elements, void* out) {
          Row<F, Float16>::run(blocks, elements, static_cast<Float16*>(out));
        };
      case Format::kBF16:
        return [](const void* blocks, int64_t elements, void* out) {
          Row<F, BFloat16>::run(blocks, elements, static_cast<BFloat16*>(out));
        };
      default:
        return nullptr;
    }
  });
}

}  // namespace METALLIC_ISA
}  // namespace metallic::quant

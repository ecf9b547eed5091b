// A row of weights through the encoder of its format. Each instruction set has a source file that instantiates it.
#pragma once

#include <cstring>

#include "quant/encode_grid.h"
#include "quant/encode_iq4.h"
#include "quant/encode_k.h"
#include "quant/encode_nearest.h"
#include "quant/quantize_isa.h"

namespace metallic::quant::inline METALLIC_ISA {

template <class F>
concept RoundsToNearest = requires(const float* weights, typename F::Block& block) {
  encode_nearest(weights, block);
};
template <class F>
concept Searches = requires(const SearchInput<F::kBlock>& input, typename F::Block& block) {
  encode(input, block);
};
template <class F>
concept Converts = requires(float weight, typename F::Block& block) {
  F::from_float(weight, block);
};

// Columns without importance still count a little: no input is exactly zero for ever.
inline constexpr float kLeastImportance = 1e-4f;

// `mean`: of the importance of the whole row.
template <int kSize>
void prepare(const float* weights, const float* importance, float mean, SearchInput<kSize>& input) {
  input.unit = 0;
  for (int i = 0; i < kSize; ++i) input.unit = std::max(input.unit, std::fabs(weights[i]));
  if (input.unit == 0) return;
  for (int i = 0; i < kSize; ++i) {
    input.x[i] = weights[i] / input.unit;
    input.w[i] = importance == nullptr ? 1.0f : importance[i] / mean + kLeastImportance;
  }
}

inline float mean_importance(const float* importance, int64_t columns) {
  double sum = 0;
  for (int64_t i = 0; i < columns; ++i) sum += double(importance[i]);
  const float mean = float(sum / double(columns));
  return mean > 0 ? mean : 1.0f;
}

template <class F>
void search_row(const float* weights, int64_t columns, const float* importance, typename F::Block* blocks) {
  const float mean = importance == nullptr ? 1.0f : mean_importance(importance, columns);
  SearchInput<F::kBlock> input;
  for (int64_t i = 0; i < columns; i += F::kBlock, ++blocks) {
    std::memset(blocks, 0, sizeof(*blocks));
    prepare(weights + i, importance == nullptr ? nullptr : importance + i, mean, input);
    if (input.unit > 0) encode(input, *blocks);
  }
}

// An EncodeRow.
template <class F>
void encode_row(const float* weights, int64_t columns, const float* importance, void* out) {
  auto* blocks = static_cast<typename F::Block*>(out);
  if constexpr (Converts<F>) {
    for (int64_t i = 0; i < columns; ++i) F::from_float(weights[i], blocks[i]);
  } else if constexpr (RoundsToNearest<F>) {
    if constexpr (Searches<F>)
      if (importance != nullptr) return search_row<F>(weights, columns, importance, blocks);
    for (int64_t i = 0; i < columns / F::kBlock; ++i) encode_nearest(weights + i * F::kBlock, blocks[i]);
  } else {
    search_row<F>(weights, columns, importance, blocks);
  }
}

inline EncodeRow encode_rows_function(Format format) {
  return visit_format(format, []<class F>(F) -> EncodeRow {
    if constexpr (Converts<F>)
      return encode_row<F>;
    else if constexpr (Grouped<F>) {
      if constexpr (RoundsToNearest<F> || Searches<F>)
        return encode_row<F>;
      else
        return nullptr;
    } else
      return nullptr;
  });
}

}  // namespace metallic::quant::inline METALLIC_ISA

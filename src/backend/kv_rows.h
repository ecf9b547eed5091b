// The formats of a KV cache, and how a row gets into one.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "metallic/format.h"
#include "quant/dequantize.h"
#include "quant/quantize.h"

namespace metallic {

inline constexpr std::array kKvFormats = {Format::kF32,  Format::kF16,  Format::kBF16, Format::kQ8_0, Format::kF8_E4M3,
                                          Format::kQ5_1, Format::kQ5_0, Format::kQ4_1, Format::kQ4_0, Format::kIQ4_NL};

// `format` is one of these, `width` a multiple of its block. A number that is not finite makes its row NaN in the
// formats that cannot hold it; in F8_E4M3 infinity is 448, as all that is too large.
inline void store_kv_row(Format format, const float* row, int64_t width, void* to) {
  if (quantize_function(format) != nullptr) return quantize_row(format, row, width, to);
  bool finite = true;
  for (int64_t i = 0; i < width; ++i) finite = finite && std::isfinite(row[i]);
  const FormatInfo& info = format_info(format);
  if (finite)
    quantize_rows(format, row, 1, width, nullptr, to);
  else
    std::memset(to, 0xff, size_t(width / info.block_elements * info.block_bytes));  // each block's scale is NaN
}

}  // namespace metallic

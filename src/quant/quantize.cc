#include "quant/quantize.h"

#include "base/check.h"
#include "quant/quantize_blocks.h"
#include "quant/quantize_isa.h"

namespace metallic {
namespace {

quant::EncodeRow (*choose_instruction_set())(Format) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return quant::encode_function_avx512;
  if (avx2) return quant::encode_function_avx2;
#endif
  return quant::encode_function_base;
}

quant::EncodeRow encode_function(Format format) {
  if (format == Format::kF8_E4M3) return nullptr;
  static quant::EncodeRow (*const function)(Format) = choose_instruction_set();
  return function(format);
}

}  // namespace

quant::EncodeRow quant::encode_function_base(Format format) { return encode_rows_function(format); }

bool can_quantize(Format format) { return encode_function(format) != nullptr; }

void quantize_rows(Format format, const float* weights, int64_t rows, int64_t columns, const float* importance,
                   void* out) {
  const quant::EncodeRow encode = encode_function(format);
  METALLIC_CHECK(encode != nullptr);
  const FormatInfo& info = format_info(format);
  METALLIC_CHECK(columns % info.block_elements == 0);
  const int64_t row_bytes = columns / info.block_elements * info.block_bytes;
  for (int64_t row = 0; row < rows; ++row)
    encode(weights + row * columns, columns, importance, static_cast<char*>(out) + row * row_bytes);
}

}  // namespace metallic

#include "quant/dequantize.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/cpu_features.h"
#include "quant/dequantize_blocks.h"
#include "quant/dequantize_isa.h"

namespace metallic {
namespace {

// A QuantizeRow.
template <class F>
void quantize_blocks(const float* weights, int64_t elements, void* blocks) {
  METALLIC_DCHECK(elements % F::kBlock == 0);
  auto* block = static_cast<typename F::Block*>(blocks);
  for (int64_t i = 0; i < elements / F::kBlock; ++i) {
    if constexpr (quant::Grouped<F>)
      F::encode(weights + i * F::kBlock, block[i]);
    else
      F::from_float(weights[i], block[i]);
  }
}

template <class F>
concept Encodes = requires(typename F::Block block, const float* weights) {
  F::encode(weights, block);
}
|| requires(typename F::Block block, float weight) { F::from_float(weight, block); };

template <class F, class T>
struct BaseRow {
  static void run(const void* blocks, int64_t elements, T* out) { quant::dequantize_blocks<F>(blocks, elements, out); }
};

DequantizeRow base_to_float(Format format) {
  return quant::visit_any_format(format, []<class F>(F) -> DequantizeRow { return BaseRow<F, float>::run; });
}
ConvertRow base_to(Format format, Format to) { return quant::convert_function<BaseRow>(format, to); }

}  // namespace

namespace quant {

const Dequantizers kBaseDequantizers = {"base", base_to_float, base_to};

const Dequantizers& chosen_dequantizers() {
#if defined(__x86_64__)
  if (cpu_features().avx512) return kAvx512Dequantizers;
  if (cpu_features().avx2) return kAvx2Dequantizers;
#elif defined(__aarch64__)
  if (cpu_features().neon) return kNeonDequantizers;
#endif
  return kBaseDequantizers;
}

}  // namespace quant

DequantizeRow dequantize_function(Format format) { return quant::chosen_dequantizers().to_float(format); }
ConvertRow dequantize_function(Format format, Format to) { return quant::chosen_dequantizers().to(format, to); }

void dequantize_row(Format format, const void* blocks, int64_t elements, float* out) {
  dequantize_function(format)(blocks, elements, out);
}

QuantizeRow quantize_function(Format format) {
  return quant::visit_any_format(format, []<class F>(F) -> QuantizeRow {
    if constexpr (Encodes<F>)
      return quantize_blocks<F>;
    else
      return nullptr;
  });
}

void quantize_row(Format format, const float* weights, int64_t elements, void* blocks) {
  const QuantizeRow quantize = quantize_function(format);
  METALLIC_CHECK(quantize != nullptr);
  quantize(weights, elements, blocks);
}

void convert_row(Format from, const void* source, Format to, void* target, int64_t elements) {
  const FormatInfo& from_info = format_info(from);
  const FormatInfo& to_info = format_info(to);
  METALLIC_CHECK(elements % from_info.block_elements == 0 && elements % to_info.block_elements == 0);
  if (from == to) {
    std::memcpy(target, source, size_t(elements / from_info.block_elements * from_info.block_bytes));
    return;
  }
  if (const ConvertRow convert = dequantize_function(from, to)) return convert(source, elements, target);
  if (from == Format::kF32) return quantize_row(to, static_cast<const float*>(source), elements, target);

  constexpr int64_t kChunk = 256;  // a multiple of every block
  float weights[kChunk];
  const DequantizeRow dequantize = dequantize_function(from);
  for (int64_t i = 0; i < elements; i += kChunk) {
    const int64_t count = std::min(kChunk, elements - i);
    dequantize(static_cast<const char*>(source) + i / from_info.block_elements * from_info.block_bytes, count, weights);
    quantize_row(to, weights, count, static_cast<char*>(target) + i / to_info.block_elements * to_info.block_bytes);
  }
}

}  // namespace metallic

#include "quant/parallel_dequantize.h"

#include <algorithm>

#include "base/check.h"

namespace metallic {

void parallel_dequantize(Format format, const void* blocks, int64_t elements, Format to, void* out, ThreadPool& pool) {
  const FormatInfo &from_info = format_info(format), &to_info = format_info(to);
  const ConvertRow dequantize = dequantize_function(format, to);
  METALLIC_CHECK(dequantize != nullptr && elements % from_info.block_elements == 0);
  const int64_t threads = std::clamp<int64_t>(elements / kWeightsWorthAThread, 1, pool.size());
  if (threads == 1) return dequantize(blocks, elements, out);  // wakes nobody
  constexpr int64_t kAlign = 256;                              // a multiple of every block
  const int64_t share = ((elements + threads - 1) / threads + kAlign - 1) / kAlign * kAlign;
  pool.parallel_for(elements, share, [&](int64_t begin, int64_t end) {
    dequantize(static_cast<const char*>(blocks) + begin / from_info.block_elements * from_info.block_bytes, end - begin,
               static_cast<char*>(out) + begin * to_info.block_bytes);
  });
}

void parallel_dequantize(Format format, const void* blocks, int64_t elements, float* out, ThreadPool& pool) {
  parallel_dequantize(format, blocks, elements, Format::kF32, out, pool);
}

}  // namespace metallic

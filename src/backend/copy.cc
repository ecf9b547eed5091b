#include "backend/copy.h"

#include "backend/strided.h"
#include "base/check.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

char* address(const TensorView& view, int64_t i, int64_t j, int64_t k) {
  return static_cast<char*>(view.data) + i * view.stride[0] + j * view.stride[1] + k * view.stride[2];
}

}  // namespace

void copy_view(const TensorView& from_view, const TensorView& to_view) {
  METALLIC_CHECK(from_view.shape == to_view.shape);
  const TensorView from = rank4(from_view), to = rank4(to_view);
  const FormatInfo& from_info = format_info(from.format);
  const FormatInfo& to_info = format_info(to.format);
  const int64_t width = from.shape[3];
  const bool whole_rows =
      (width == 1 || from.stride[3] == from_info.block_bytes) && (width == 1 || to.stride[3] == to_info.block_bytes);
  METALLIC_CHECK(whole_rows || (from_info.block_elements == 1 && to_info.block_elements == 1));
  const int64_t step = whole_rows ? width : 1;
  for_each_row(from.shape, [&](int64_t i, int64_t j, int64_t k) {
    const char* source = address(from, i, j, k);
    char* target = address(to, i, j, k);
    for (int64_t l = 0; l < width; l += step)
      convert_row(from.format, source + l * from.stride[3], to.format, target + l * to.stride[3], step);
  });
}

}  // namespace metallic

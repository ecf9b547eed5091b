#include "backend/copy.h"

#include <algorithm>
#include <cstring>

#include "backend/strided.h"
#include "base/check.h"
#include "quant/dequantize.h"

namespace metallic {
namespace {

char* address(const TensorView& view, int64_t i, int64_t j, int64_t k) {
  return static_cast<char*>(view.data) + i * view.stride[0] + j * view.stride[1] + k * view.stride[2];
}

// Elements of `bytes` bytes between strided and dense memory.
void gather(const char* from, int64_t stride, int64_t bytes, int64_t count, char* to) {
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * bytes, from + i * stride, size_t(bytes));
}
void scatter(const char* from, int64_t bytes, int64_t count, char* to, int64_t stride) {
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * stride, from + i * bytes, size_t(bytes));
}

// One row whose elements do not lie densely, through dense pieces.
void copy_strided_row(const TensorView& from, const char* source, const TensorView& to, char* target) {
  constexpr int64_t kPiece = 256, kMostBytes = 8;
  const int64_t from_bytes = format_info(from.format).block_bytes, to_bytes = format_info(to.format).block_bytes;
  const int64_t from_stride = from.stride[3], to_stride = to.stride[3], width = from.shape[3];
  METALLIC_CHECK(from_bytes <= kMostBytes && to_bytes <= kMostBytes);
  char gathered[kPiece * kMostBytes], converted[kPiece * kMostBytes];
  for (int64_t i = 0; i < width; i += kPiece) {
    const int64_t count = std::min(kPiece, width - i);
    gather(source + i * from_stride, from_stride, from_bytes, count, gathered);
    convert_row(from.format, gathered, to.format, converted, count);
    scatter(converted, to_bytes, count, target + i * to_stride, to_stride);
  }
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
  for_each_row(from.shape, [&](int64_t i, int64_t j, int64_t k) {
    const char* source = address(from, i, j, k);
    char* target = address(to, i, j, k);
    if (whole_rows)
      convert_row(from.format, source, to.format, target, width);
    else
      copy_strided_row(from, source, to, target);
  });
}

}  // namespace metallic

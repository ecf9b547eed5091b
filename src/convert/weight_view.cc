#include "convert/weight_view.h"

#include <algorithm>

#include "base/check.h"

namespace metallic::convert {

WeightView::WeightView(const CheckpointTensor& tensor) : tensor_(tensor) {
  for (const uint64_t size : tensor.info->shape) axes_.push_back({int64_t(size), 0});
  if (axes_.empty()) axes_.push_back({1, 1});
  int64_t stride = 1;
  for (size_t i = axes_.size(); i-- > 0;) {
    axes_[i].stride = stride;
    stride *= axes_[i].size;
  }
}

int64_t WeightView::elements() const {
  int64_t count = 1;
  for (const Axis& axis : axes_) count *= axis.size;
  return count;
}

WeightView WeightView::split(int axis, std::span<const int64_t> sizes) const {
  WeightView result = *this;
  const Axis whole = axes_[size_t(axis)];
  std::vector<Axis> parts;
  int64_t stride = whole.stride, product = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    parts.insert(parts.begin(), {sizes[i], stride});
    stride *= sizes[i];
    product *= sizes[i];
  }
  METALLIC_CHECK(product == whole.size);
  const auto at = result.axes_.erase(result.axes_.begin() + axis);
  result.axes_.insert(at, parts.begin(), parts.end());
  return result;
}

WeightView WeightView::swap(int a, int b) const {
  WeightView result = *this;
  std::swap(result.axes_[size_t(a)], result.axes_[size_t(b)]);
  return result;
}

WeightView WeightView::slice(int axis, int64_t begin, int64_t end, int64_t step) const {
  METALLIC_CHECK(0 <= begin && begin <= end && end <= size(axis) && step >= 1);
  WeightView result = *this;
  Axis& cut = result.axes_[size_t(axis)];
  result.offset_ += begin * cut.stride;
  cut = {(end - begin + step - 1) / step, cut.stride * step};
  return result;
}

WeightView WeightView::simplified() const {
  WeightView result = *this;
  result.axes_.clear();
  for (const Axis& axis : axes_) {
    if (axis.size == 1) continue;
    if (!result.axes_.empty() && result.axes_.back().stride == axis.stride * axis.size)
      result.axes_.back() = {result.axes_.back().size * axis.size, axis.stride};
    else
      result.axes_.push_back(axis);
  }
  if (result.axes_.empty()) result.axes_.push_back({1, 1});
  return result;
}

bool WeightView::is_dense() const {
  const WeightView simple = simplified();
  return simple.axes_.size() == 1 && simple.axes_[0].stride == 1;
}

std::span<const std::byte> WeightView::bytes() const {
  METALLIC_CHECK(is_dense());
  const auto size = size_t(safetensors_type_info(tensor_.info->type).bytes);
  return tensor_.data().subspan(size_t(offset_) * size, size_t(elements()) * size);
}

void WeightView::apply_scales(int64_t at, int64_t stride, int64_t count, float* values) const {
  const BlockScales& scales = *tensor_.scales;
  const auto columns = int64_t(tensor_.info->shape[1]), blocks = int64_t(scales.info->shape[1]);
  const int64_t bytes = safetensors_type_info(scales.info->type).bytes;
  const std::byte* data = scales.file->data(*scales.info).data();
  for (int64_t i = 0; i < count;) {
    const int64_t index = at + i * stride, row = index / columns, column = index % columns;
    const int64_t block = row / scales.block_rows * blocks + column / scales.block_columns;
    float scale;
    safetensors_to_float(scales.info->type, data + block * bytes, 1, &scale);
    // What follows in the same row and block.
    const int64_t left = std::min(scales.block_columns - column % scales.block_columns, columns - column);
    const int64_t same = stride == 1 ? std::min(left, count - i) : 1;
    for (const int64_t end = i + same; i < end; ++i) values[i] *= scale;
  }
}

void WeightView::read(int64_t begin, int64_t count, float* out) const {
  METALLIC_CHECK(begin >= 0 && count >= 0 && begin + count <= elements());
  const WeightView simple = simplified();
  const SafetensorsType type = tensor_.info->type;
  const int64_t bytes = safetensors_type_info(type).bytes;
  const std::byte* data = tensor_.data().data();
  const Axis last = simple.axes_.back();
  while (count > 0) {
    // One run along the last dimension.
    int64_t rest = begin / last.size, at = simple.offset_ + begin % last.size * last.stride;
    for (size_t i = simple.axes_.size() - 1; i-- > 0;) {
      at += rest % simple.axes_[i].size * simple.axes_[i].stride;
      rest /= simple.axes_[i].size;
    }
    const int64_t run = std::min(count, last.size - begin % last.size);
    if (last.stride == 1) {
      safetensors_to_float(type, data + at * bytes, run, out);
    } else {
      for (int64_t i = 0; i < run; ++i) safetensors_to_float(type, data + (at + i * last.stride) * bytes, 1, out + i);
    }
    if (tensor_.scales) apply_scales(at, last.stride, run, out);
    begin += run;
    out += run;
    count -= run;
  }
}

}  // namespace metallic::convert

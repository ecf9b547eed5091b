// What conversion makes of a checkpoint's tensor without touching its bytes: a strided view, as numpy has it.
// Reordering rows, transposing and cutting are views; only writing reads them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "convert/checkpoint.h"

namespace metallic::convert {

class WeightView {
 public:
  // Dense, in the shape of the checkpoint. A scalar has rank 1.
  explicit WeightView(const CheckpointTensor& tensor);

  const CheckpointTensor& tensor() const { return tensor_; }
  int rank() const { return int(axes_.size()); }
  int64_t size(int axis) const { return axes_[size_t(axis)].size; }
  int64_t elements() const;

  // Dimension `axis` cut into several: the product of `sizes` is its size.
  WeightView split(int axis, std::span<const int64_t> sizes) const;
  WeightView split(int axis, std::initializer_list<int64_t> sizes) const {
    return split(axis, std::span(sizes.begin(), sizes.size()));
  }
  WeightView swap(int a, int b) const;
  WeightView slice(int axis, int64_t begin, int64_t end, int64_t step = 1) const;

  // True if the elements lie one after the other in the file; bytes() is then where.
  bool is_dense() const;
  std::span<const std::byte> bytes() const;

  // Elements [begin, begin + count) in row-major order, as float32.
  void read(int64_t begin, int64_t count, float* out) const;

 private:
  struct Axis {
    int64_t size, stride;  // stride in elements
  };

  // Elements that lie `stride` apart from index `at` of the tensor on, times their scales.
  void apply_scales(int64_t at, int64_t stride, int64_t count, float* values) const;
  WeightView simplified() const;  // the same elements in the same order with as few dimensions as possible

  CheckpointTensor tensor_;
  int64_t offset_ = 0;  // of the first element
  std::vector<Axis> axes_;
};

}  // namespace metallic::convert

// Walking over strided views.
#pragma once

#include <cstdint>

#include "metallic/tensor.h"

namespace metallic {

inline float* float_at(const TensorView& view, int64_t i, int64_t j = 0, int64_t k = 0, int64_t l = 0) {
  auto* bytes = static_cast<char*>(view.data);
  return reinterpret_cast<float*>(bytes + i * view.stride[0] + j * view.stride[1] + k * view.stride[2] +
                                  l * view.stride[3]);
}

// Calls visit(i, j, k) for every index of the first three dimensions of a shape seen as rank 4 (see rank4).
template <class Visit>
void for_each_row(const Shape& shape, Visit visit) {
  for (int64_t i = 0; i < shape[0]; ++i)
    for (int64_t j = 0; j < shape[1]; ++j)
      for (int64_t k = 0; k < shape[2]; ++k) visit(i, j, k);
}

// The same view with leading dimensions of size 1, so that its last dimension is number 3.
TensorView rank4(const TensorView& view);

}  // namespace metallic

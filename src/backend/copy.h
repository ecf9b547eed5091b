// Copies between strided views on the host.
#pragma once

#include "metallic/tensor.h"

namespace metallic {

// Element by element, both views of one shape: between F32, F16 and BF16, or from any quantised format to F32. Rows
// whose last dimension is contiguous are converted as a whole.
void copy_view(const TensorView& from, const TensorView& to);

}  // namespace metallic

// The oracle: every operation written as its definition, float32 storage, double sums, no intrinsics, no layout of its
// own.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace metallic {

std::shared_ptr<Backend> make_reference_backend(int threads);

}  // namespace metallic

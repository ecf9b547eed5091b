// experts() made of linear(), for weights that the host can look at one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"

namespace metallic {

// The rows of an expert are brought together in `inputs`, go through `linear`, and their results in `outputs` go back
// where they belong. All tensors in host memory.
void experts_by_linear(const ExpertsOp& op, std::vector<float>& inputs, std::vector<float>& outputs,
                       const std::function<void(const LinearOp&)>& linear);

}  // namespace metallic

// experts() made of linear(), for weights that the host can look at one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"

namespace metallic {

// Whether each pair of row and expert has a row of x to itself, and not only each row.
inline bool has_own_rows(const ExpertsOp& op) { return op.used > 1 && op.x.shape[0] == int64_t(op.rows) * op.used; }

// The pairs r * used + i of each expert side by side, rising. Negative ids stand for no expert here.
struct ExpertPairs {
  std::vector<int32_t> pairs;  // expert after expert
  std::vector<int32_t> first;  // (experts + 1): where each expert's begin

  void sort(const ExpertsOp& op);
};

// The rows of an expert are brought together in `inputs`, go through `linear`, and their results in `outputs` go back
// where they belong. All tensors in host memory.
void experts_by_linear(const ExpertsOp& op, std::vector<float>& inputs, std::vector<float>& outputs,
                       const std::function<void(const LinearOp&)>& linear);

}  // namespace metallic

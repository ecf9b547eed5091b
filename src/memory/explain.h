// A plan in words, for people, and in JSON, for programs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "memory/plan.h"

namespace metallic {

// Blocks and places (equal layers folded), memory, expected speed, and what would help. `machine` as it was
// planned for; rates that were estimated are marked.
std::string explain_text(const ModelSizes& sizes, const Machine& machine, const Plan& plan);
std::string explain_json(const ModelSizes& sizes, const Machine& machine, const Plan& plan);
// "weights 21.3 GB on the GPU, 18.1 GB in RAM", on one line.
std::string places_in_brief(const Plan& plan, const ModelSizes& sizes);

// Blocks that are treated alike.
struct BlockRun {
  BlockKind kind = BlockKind::kFeedForward;
  std::vector<std::pair<int, int>> layers;  // from, to; none of the model's own blocks
  int blocks = 0;
  uint64_t bytes = 0;  // in the file
  Placement placement;
};
std::vector<BlockRun> block_runs(const ModelSizes& sizes, const Plan& plan);

}  // namespace metallic

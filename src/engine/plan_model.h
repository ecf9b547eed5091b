// The plan for a model file under the options of an engine.
#pragma once

#include <optional>

#include "engine/local_machine.h"
#include "memory/plan.h"
#include "metallic/engine.h"
#include "metallic/gguf.h"
#include "model/config.h"
#include "model/model_sizes.h"

namespace metallic {

struct PlanRequest {
  EngineOptions options;
  int prompt_tokens = 512;
  Measure measure = Measure::kKnown;
  uint64_t smallest_slice = SizeOptions().smallest_slice;
};

// The plan and what it was made of. `sizes` are those of weights packed for the CPU if the options say so, but not
// where that alone would send blocks to disk.
struct PlannedModel {
  ModelSizes sizes;
  Machine machine;
  Constraints constraints;
  Plan plan;
};

// For `machine`, or for this one. Errors: those of make_plan().
Result<PlannedModel> plan_model(const GgufFile& file, const Config& config, const PlanRequest& request,
                                const std::optional<Machine>& machine = std::nullopt);

}  // namespace metallic

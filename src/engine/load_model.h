// Loads a model with its parts where the plan wants them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/plan_model.h"
#include "model/model.h"

namespace metallic {

struct PlacedModel {
  std::shared_ptr<const Model> model;
  std::optional<PlannedModel>
      planned;  // none for encoders, and for backends that only tests use: all their weights stay
};

// Tokens of a step: as asked for, as the plan has it, or 512.
int step_rows(const EngineOptions& options, const Plan* plan);

// Plans for what is free now, within options.memory, and opens the backend that the plan needs. Errors: those of
// open_backend(), make_plan() and Model::load().
Result<PlacedModel> load_model(const std::string& path, const EngineOptions& options);

}  // namespace metallic

// An engine over a model that is loaded already.
#pragma once

#include <memory>

#include "engine/live_model.h"
#include "metallic/engine.h"

namespace metallic {

// Of `options`, what says how requests are run. Errors as Engine::load().
Result<std::unique_ptr<Engine>> make_engine(PlacedModel placed, const EngineOptions& options,
                                            Surroundings surroundings);

}  // namespace metallic

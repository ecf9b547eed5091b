// This machine as the planner sees it: what is free now, and what was measured now or before.
#pragma once

#include <string>

#include "memory/plan.h"
#include "metallic/gguf.h"
#include "model/config.h"

namespace metallic {

enum class Measure {
  kKnown,    // only what is in the cache of measurements; the rest stays unknown
  kMissing,  // and what is not there yet; takes a second or two
  kAll,      // all anew
};

struct LocalMachineOptions {
  std::string backend = "auto";  // a GPU counts if this is "auto" or names it
  int threads = 0;
  bool repack = true;
  Measure measure = Measure::kKnown;
};

// For the model in `file`, of these sizes: rates depend on its formats and widths, that of the disk on where it lies.
Result<Machine> local_machine(const GgufFile& file, const Config& config, const ModelSizes& sizes,
                              const LocalMachineOptions& options);

// Whether everything that a plan for processor and GPU depends on is known.
bool is_measured(const Machine& machine);

}  // namespace metallic

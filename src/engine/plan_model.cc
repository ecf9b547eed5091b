#include "engine/plan_model.h"

#include "base/error.h"
#include "engine/evaluator.h"
#include "model/model_sizes.h"

namespace metallic {

Result<PlannedModel> plan_model(const GgufFile& file, const Config& config, const PlanRequest& request,
                                const std::optional<Machine>& machine) {
  const EngineOptions& options = request.options;
  PlannedModel planned;
  METALLIC_ASSIGN(planned.sizes, model_sizes(file, config,
                                             {.kv_formats = options.kv_formats,
                                              .repack = options.repack,
                                              .page_tokens = kPageTokens,
                                              .logit_rows = options.backend == "cpu" ? 16 : 64}));
  if (machine) {
    planned.machine = *machine;
  } else {
    METALLIC_ASSIGN(planned.machine, local_machine(file, {.backend = options.backend,
                                                          .threads = options.threads,
                                                          .repack = options.repack,
                                                          .measure = request.measure}));
  }
  Constraints& asked = planned.constraints;
  asked.gpu_bytes = options.memory.gpu_bytes;
  asked.ram_bytes = options.memory.ram_bytes;
  asked.gpu_layers = options.memory.gpu_layers;
  asked.kv_offload = options.memory.kv_offload;
  asked.no_gpu = options.backend != "auto" && !options.backend.starts_with("cuda");
  asked.needs_gpu = options.backend.starts_with("cuda");
  asked.context = options.context;
  asked.batch_rows = options.batch_rows;
  asked.sequences = options.max_sequences;
  asked.prompt_tokens = request.prompt_tokens;
  METALLIC_ASSIGN(planned.plan, make_plan(planned.sizes, planned.machine, asked));
  return planned;
}

}  // namespace metallic

#include "engine/plan_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/evaluator.h"

namespace metallic {

namespace {

Result<ModelSizes> sizes_of(const GgufFile& file, const Config& config, const PlanRequest& request, bool repack) {
  return model_sizes(file, config,
                     {.kv_formats = request.options.kv_formats,
                      .repack = repack,
                      .page_tokens = kPageTokens,
                      .logit_rows = request.options.backend == "cpu" ? 16 : 64,
                      .smallest_slice = request.smallest_slice});
}

// Panels of some formats are larger than their rows (docs/decisions/integer-panels.md). Where only the rows fit into
// RAM, they stay as they are: slower than panels, but not as slow as a disk.
Result<Plan> plan_within_memory(const GgufFile& file, const Config& config, const PlanRequest& request,
                                PlannedModel& planned) {
  auto plan = make_plan(planned.sizes, planned.machine, planned.constraints);
  if (!request.options.repack || (plan && !reads_disk(*plan))) return plan;
  METALLIC_ASSIGN(ModelSizes plain_sizes, sizes_of(file, config, request, false));
  auto plain = make_plan(plain_sizes, planned.machine, planned.constraints);
  if (!plain || reads_disk(*plain)) return plan;
  planned.sizes = std::move(plain_sizes);
  return plain;
}

}  // namespace

Result<PlannedModel> plan_model(const GgufFile& file, const Config& config, const PlanRequest& request,
                                const std::optional<Machine>& machine) {
  const EngineOptions& options = request.options;
  PlannedModel planned;
  METALLIC_ASSIGN(planned.sizes, sizes_of(file, config, request, options.repack));
  if (machine) {
    planned.machine = *machine;
  } else {
    METALLIC_ASSIGN(planned.machine, local_machine(file, config, planned.sizes,
                                                   {.backend = options.backend,
                                                    .threads = options.threads,
                                                    .repack = options.repack,
                                                    .measure = request.measure}));
  }
  Constraints& asked = planned.constraints;
  asked.gpu_bytes = options.memory.gpu_bytes;
  asked.ram_bytes = options.memory.ram_bytes;
  asked.gpu_layers = options.memory.gpu_layers;
  asked.kv_offload = options.memory.kv_offload;
  asked.kv_with_gpu = true;
  asked.no_gpu = options.backend != "auto" && !options.backend.starts_with("cuda");
  asked.needs_gpu = options.backend.starts_with("cuda");
  asked.context = options.context;
  asked.batch_rows = options.batch_rows;
  asked.sequences = options.max_sequences;
  if (const uint64_t token = planned.sizes.kv_token_bytes * uint64_t(planned.sizes.layers);
      options.memory.kv_bytes > 0 && token > 0)
    asked.kv_tokens = std::max<int64_t>(1, int64_t(options.memory.kv_bytes / token));
  asked.prompt_tokens = request.prompt_tokens;
  METALLIC_ASSIGN(planned.plan, plan_within_memory(file, config, request, planned));
  return planned;
}

}  // namespace metallic

#include "engine/load_model.h"

#include "base/error.h"
#include "base/log.h"
#include "memory/explain.h"
#include "memory/file_reader.h"

namespace metallic {
namespace {

bool is_cuda(const std::string& backend) { return backend.starts_with("cuda"); }

// The backend that a plan was made for; where "auto" meant a GPU that then refuses, none.
Result<std::shared_ptr<Backend>> open_for(const PlannedModel& planned, const EngineOptions& options) {
  const std::string name = options.backend != "auto" ? options.backend : planned.plan.uses_gpu() ? "cuda" : "cpu";
  return open_backend(name, options.threads, planned.sizes.packed);
}

// Where there is a GPU and not all of a model stays on it, the plan depends on rates as nothing else: those that are
// not known yet are measured. A model that fits starts at once.
Result<PlannedModel> plan_for_loading(const GgufFile& file, const Config& config, const EngineOptions& options) {
  METALLIC_ASSIGN(PlannedModel planned, plan_model(file, config, {.options = options}));
  if (!planned.machine.has_gpu || (planned.plan.uses_gpu() && all_stay(planned.plan))) return planned;
  if (is_measured(planned.machine) && (planned.machine.disk_rate > 0 || !reads_disk(planned.plan))) return planned;
  log(LogLevel::kWarning, "measuring this machine, once a week, for a model of which not all stays on the GPU");
  auto measured = plan_model(file, config, {.options = options, .measure = Measure::kMissing});
  if (measured) return measured;
  log(LogLevel::kWarning, "rates are assumed, as they could not be measured: {}", measured.error().message);
  return planned;
}

}  // namespace

int step_rows(const EngineOptions& options, const Plan* plan) {
  constexpr int kUsual = 512;
  if (options.batch_rows > 0) return options.batch_rows;
  return plan != nullptr ? plan->batch_rows : kUsual;
}

Result<PlacedModel> load_model(const std::string& path, const EngineOptions& given) {
  EngineOptions options = given;
  METALLIC_ASSIGN(GgufFile opened, GgufFile::open(path));
  const auto file = std::make_shared<const GgufFile>(std::move(opened));
  METALLIC_ASSIGN(const Config config, read_config(*file));
  PlacedModel placed;
  const bool planned = options.backend == "auto" || options.backend == "cpu" || is_cuda(options.backend);
  if (!planned || config.spec->encoder) {
    METALLIC_ASSIGN(std::shared_ptr<Backend> backend, open_backend(options.backend, options.threads, options.repack));
    METALLIC_ASSIGN(placed.model, Model::load(file, std::move(backend)));
    return placed;
  }
  std::shared_ptr<Backend> backend;
  if (is_cuda(options.backend)) {  // says why there is none before anything is planned for it
    METALLIC_ASSIGN(backend, open_backend(options.backend, options.threads, options.repack));
  }
  METALLIC_ASSIGN(placed.planned, plan_for_loading(*file, config, options));
  if (backend == nullptr) {
    auto found = open_for(*placed.planned, options);
    if (!found && options.backend == "auto" && placed.planned->plan.uses_gpu()) {
      log(LogLevel::kWarning, "the GPU is not used: {}", found.error().message);
      options.backend = "cpu";
      METALLIC_ASSIGN(placed.planned, plan_model(*file, config, {.options = options}));
      found = open_for(*placed.planned, options);
    }
    METALLIC_ASSIGN(backend, std::move(found));
  }
  const PlannedModel& made = *placed.planned;
  if (log_enabled(LogLevel::kInfo))
    log(LogLevel::kInfo, "the plan:\n{}", explain_text(made.sizes, made.machine, made.plan));
  if (all_stay(made.plan) && !kv_beside_gpu(made.plan)) {
    METALLIC_ASSIGN(placed.model, Model::load(file, std::move(backend)));
  } else {
    METALLIC_ASSIGN(placed.model, Model::load(file, std::move(backend), made.sizes.blocks, made.plan, make_file_reader,
                                              options.threads));
  }
  return placed;
}

}  // namespace metallic

// metallic explain: where every part of a model would be, why, and how fast it would run.
#include <fmt/core.h>

#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/memory_options.h"
#include "cli/model_options.h"
#include "engine/plan_model.h"
#include "memory/explain.h"
#include "memory/machine.h"
#include "model/random_model.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string shape;    // instead of a file
  std::string machine;  // a file that describes another one
  int prompt = 512;
  bool json = false;
  bool measure = false, no_measure = false;
};

Status explain(const Options& options) {
  std::optional<MemoryFile> hollow;
  std::string path = options.model.path;
  std::optional<RandomModelSpec> spec;
  if (!options.shape.empty()) {
    METALLIC_ASSIGN(spec, RandomModelSpec::parse(options.shape));
    METALLIC_ASSIGN(MemoryFile layout, MemoryFile::of_layout(*spec));
    hollow.emplace(std::move(layout));
    path = hollow->path();
  }
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(path));
  METALLIC_ASSIGN(const Config config, read_config(file));
  std::optional<Machine> machine;
  if (!options.machine.empty()) {
    METALLIC_ASSIGN(const std::string text, read_text_file(options.machine));
    METALLIC_ASSIGN(machine, parse_machine(text, options.machine));
  }
  PlanRequest request;
  request.options = options.model.engine;
  request.prompt_tokens = options.prompt;
  request.measure = options.measure ? Measure::kAll : options.no_measure ? Measure::kKnown : Measure::kMissing;
  METALLIC_ASSIGN(PlannedModel planned, plan_model(file, config, request, machine));
  if (spec) planned.sizes.name = spec->name();
  planned.plan.advice = advise(planned.sizes, planned.machine, planned.constraints, planned.plan);
  const auto print = options.json ? explain_json : explain_text;
  fmt::print("{}", print(planned.sizes, planned.machine, planned.plan));
  return {};
}

}  // namespace

void add_explain(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("explain", "Show where a model's parts would be, and how fast it would run");
  add_model_options(*command, options->model);
  add_context_options(*command, options->model);
  add_memory_options(*command, options->model.engine.memory);
  CLI::Option* model = command->get_option("--model")->required(false);
  command
      ->add_option("--shape", options->shape,
                   "no file, but a known shape and type, SHAPE:TYPE like llama3.1-70b:q4_k_m")
      ->excludes(model);
  command->add_option("--machine", options->machine, "a JSON file that describes another machine to plan for");
  command->add_option("-p,--n-prompt", options->prompt, "tokens of the prompt that the plan is made for")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  CLI::Option* measure = command->add_flag("--measure", options->measure, "measure this machine anew");
  command->add_flag("--no-measure", options->no_measure, "use only what was measured before")->excludes(measure);
  command->add_flag("--json", options->json, "for programs");
  command->footer(
      "Examples:\n"
      "  metallic explain -m model.gguf --gpu-memory 8G\n"
      "  metallic explain --shape llama3.1-70b:q4_k_m --machine pc.json\n"
      "What is measured of this machine (a second or two) is kept for a week.");
  command->callback([options, model, &action] {
    if (model->count() == 0 && options->shape.empty()) throw CLI::RequiredError("--model or --shape");
    action = [options] { return explain(*options); };
  });
}

}  // namespace metallic::cli

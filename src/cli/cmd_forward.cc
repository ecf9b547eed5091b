// metallic forward: evaluates a feed-forward network ('mlp') on rows of numbers.
#include <fmt/core.h>
#include <fmt/format.h>

#include <array>

#include "backend/backend.h"
#include "base/error.h"
#include "base/npy.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "model/mlp.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  std::vector<float> values;
  std::string input, output;
};

Result<std::vector<float>> input_of(const Options& options) {
  if (options.input.empty() == options.values.empty())
    return fail(ErrorCode::kInvalidArgument, "give the input either as --input FILE.npy or as --values 1,2,3");
  if (options.input.empty()) return options.values;
  METALLIC_ASSIGN(const NpyArray array, read_npy(options.input));
  const auto floats = array.as<float>();
  if (!floats) return fail(ErrorCode::kUnsupported, "{}: the input must be float32", options.input);
  return std::vector<float>(floats->begin(), floats->end());
}

Status evaluate(const Options& options) {
  METALLIC_ASSIGN(const std::vector<float> input, input_of(options));
  METALLIC_ASSIGN(const auto backend, open_backend(options.model.engine.backend, options.model.engine.threads,
                                                   options.model.engine.repack));
  METALLIC_ASSIGN(const Mlp mlp, Mlp::load(options.model.path, backend));
  METALLIC_ASSIGN(const std::vector<float> result, mlp.evaluate(input));
  const std::array<uint64_t, 2> shape = {result.size() / uint64_t(mlp.outputs()), uint64_t(mlp.outputs())};
  if (!options.output.empty()) return write_npy<float>(options.output, shape, result);
  for (uint64_t row = 0; row < shape[0]; ++row)
    fmt::print("{}\n", fmt::join(std::span(result).subspan(row * shape[1], shape[1]), " "));
  return {};
}

}  // namespace

void add_forward(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("forward", "Evaluate a small feed-forward network (architecture 'mlp')");
  add_model_options(*command, options->model);
  command->add_option("--values", options->values, "one or more input rows, as numbers separated by commas")
      ->delimiter(',');
  command->add_option("--input", options->input, "the input as float32 .npy, (rows, inputs)");
  command->add_option("-o,--output", options->output, "write float32 .npy (rows, outputs) instead of printing");
  command->footer(
      "Example:\n  metallic forward -m net.gguf --values 0.5,-1,2,0.25\nThe file format is described in docs/mlp.md.");
  command->callback([options, &action] { action = [options] { return evaluate(*options); }; });
}

}  // namespace metallic::cli

// metallic imatrix: which columns of a model's matrices matter, measured on a text.
#include <fmt/core.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "engine/collect_importance.h"

namespace metallic::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string text_path, output, output_format = "gguf";
  int chunks = 0;
};

Status measure(const Options& options) {
  METALLIC_ASSIGN(const std::string text, read_text_file(options.text_path));
  const InterruptGuard guard;
  ImportanceOptions importance;
  importance.model_path = options.model.path;
  importance.backend = options.model.engine.backend;
  importance.threads = options.model.engine.threads;
  importance.context = options.model.engine.context > 0 ? options.model.engine.context : 512;
  importance.chunks = options.chunks;
  importance.dataset = std::filesystem::path(options.text_path).filename().string();
  bool line_begun = false;
  importance.on_chunk = [&](int done, int chunks) {
    line_begun = true;
    fmt::print(stderr, "\r[{}/{}] chunks ", done, chunks);
    std::fflush(stderr);
    return !InterruptGuard::pending();
  };
  auto matrix = collect_importance(text, importance);
  if (line_begun) fmt::print(stderr, "\n");
  if (!matrix) return tl::unexpected<Error>(matrix.error());
  METALLIC_TRY(options.output_format == "dat" ? matrix->write_legacy(options.output) : matrix->write(options.output));
  fmt::print("{}: importance of {} tensors, from {} chunks of {} tokens\n", options.output, matrix->tensors.size(),
             matrix->chunks, matrix->chunk_tokens);
  return {};
}

}  // namespace

void add_imatrix(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("imatrix", "Measure which weights matter, for quantize --imatrix");
  add_model_options(*command, options->model);
  command->add_option("-c,--ctx-size", options->model.engine.context, "tokens of one chunk (0: 512)")
      ->capture_default_str()
      ->check(CLI::Range(0, INT32_MAX));
  command->add_option("-f,--file", options->text_path, "the text, UTF-8; - for standard input")->required();
  command->add_option("-o,--output", options->output, "the file to write, replaced if it exists")->required();
  command->add_option("--output-format", options->output_format, "gguf, or dat: as llama.cpp wrote it before 2025")
      ->capture_default_str()
      ->check(CLI::IsMember({"gguf", "dat"}));
  command->add_option("--chunks", options->chunks, "the most chunks to evaluate (0: all)")
      ->capture_default_str()
      ->check(CLI::Range(0, INT32_MAX));
  command->footer(
      "The text should be like what the model will be used for; 100 to 200 chunks are enough. llama.cpp reads the "
      "file\n"
      "as well.\n"
      "Example:\n  metallic imatrix -m model-f16.gguf -f calibration.txt -o model.imatrix");
  command->callback([options, &action] { action = [options] { return measure(*options); }; });
}

}  // namespace metallic::cli

// metallic convert: a Hugging Face folder to a GGUF file.
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "convert/convert.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string folder, output;
  std::string type = "auto";
  convert::ConvertOptions convert;
};

Result<std::optional<Format>> parse_type(const std::string& type) {
  if (type == "auto") return std::optional<Format>();
  const std::optional<Format> format = format_from_name(type);
  for (const Format known : {Format::kF32, Format::kF16, Format::kBF16, Format::kQ8_0})
    if (format == known) return format;
  return fail(ErrorCode::kInvalidArgument, "--type {}: the known types are: auto, f32, f16, bf16, q8_0", type);
}

// On a terminal one line that is rewritten; else nothing until the end.
void show_progress(const convert::ConvertOptions::Progress& progress) {
  if (::isatty(STDERR_FILENO) == 0) return;
  fmt::print(stderr, "\r\x1b[K[{}/{}] {:.1f} MB  {}", progress.tensor, progress.tensors, double(progress.bytes) / 1e6,
             progress.name);
  if (progress.tensor == progress.tensors) fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

Status run(Options options) {
  METALLIC_ASSIGN(options.convert.format, parse_type(options.type));
  options.convert.progress = show_progress;
  METALLIC_ASSIGN(const convert::ConvertSummary summary,
                  convert::convert_folder(options.folder, options.output, options.convert));
  fmt::print(stderr, "{}: {}, {} tensors, {:.1f} MB\n", options.output, summary.architecture, summary.tensors,
             double(summary.bytes) / 1e6);
  return {};
}

}  // namespace

void add_convert(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("convert", "Convert a Hugging Face model folder to GGUF");
  command->add_option("DIR", options->folder, "folder with config.json, *.safetensors and tokenizer files")->required();
  command->add_option("OUT", options->output, "the GGUF file to write")->required();
  command->add_option("--type", options->type, "type of the matrices: auto (as they are), f32, f16, bf16, q8_0")
      ->capture_default_str();
  command->add_option("--pre", options->convert.pre_tokenizer, "name of the pre-tokeniser, where it is not recognised");
  command->add_option("-t,--threads", options->convert.threads, "threads; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  command->footer(
      "Examples:\n"
      "  metallic convert SmolLM2-135M-Instruct smollm2.gguf\n"
      "  metallic convert Qwen3-0.6B qwen3.gguf --type q8_0");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace metallic::cli

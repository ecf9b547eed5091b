// metallic quantize: a model in another format.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "model/quantize_file.h"
#include "model/quantize_mix.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string input, output;
  QuantizeOptions quantize;
};

constexpr double kMebibyte = 1024.0 * 1024.0;

// A bar on a terminal, a line for each tensor otherwise.
void show(const QuantizeProgress& progress, bool terminal) {
  const char* const from = format_info(progress.from).name;
  const char* const to = format_info(progress.to).name;
  if (!terminal) {
    fmt::print(stderr, "[{:4}/{}] {:36} {:>7} -> {:7} {:10.2f} -> {:9.2f} MiB{}{}\n", progress.tensor + 1,
               progress.tensors, progress.name, from, to, double(progress.bytes_from) / kMebibyte,
               double(progress.bytes_to) / kMebibyte, progress.important ? ", with importance" : "",
               progress.fallback ? ", rows do not fit the type" : "");
    return;
  }
  constexpr size_t kWidth = 30;
  const size_t done = kWidth * (progress.tensor + 1) / progress.tensors;
  fmt::print(stderr, "\r\x1b[K[{:#<{}}{:.<{}}] {}/{} {} {} -> {}", "", done, "", kWidth - done, progress.tensor + 1,
             progress.tensors, progress.name, from, to);
  std::fflush(stderr);
}

Status quantize(Options& options) {
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const InterruptGuard guard;
  options.quantize.on_tensor = [&](const QuantizeProgress& progress) { show(progress, terminal); };
  options.quantize.on_warning = [](const std::string& warning) { fmt::print(stderr, "warning: {}\n", warning); };
  options.quantize.cancelled = [] { return InterruptGuard::pending(); };
  const auto report = quantize_file(options.input, options.output, options.quantize);
  if (terminal) fmt::print(stderr, "\r\x1b[K");
  if (!report) return tl::unexpected<Error>(report.error());
  fmt::print("{}: {:.1f} MiB, was {:.1f} MiB; {:.2f} bits a weight; {} of the tensors changed", options.output,
             double(report->bytes_to) / kMebibyte, double(report->bytes_from) / kMebibyte,
             8.0 * double(report->bytes_to) / double(report->elements), report->quantized);
  if (report->fallbacks > 0)
    fmt::print(", {} to another format than {} asks for", report->fallbacks, options.quantize.type);
  fmt::print("\n");
  return {};
}

}  // namespace

void add_quantize(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("quantize", "Write a model in another format");
  command->add_option("IN", options->input, "the GGUF file; any part of a split model")->required();
  command->add_option("OUT", options->output, "the GGUF file to write, replaced if it exists; not IN")->required();
  std::string names;
  for (const QuantizeType& type : quantize_types()) names += (names.empty() ? "" : " ") + std::string(type.name);
  command->add_option("TYPE", options->quantize.type, "one of " + names)->required();
  command->add_option("--imatrix", options->quantize.importance_path,
                      "importance matrix (metallic imatrix): errors are kept where they matter least");
  command
      ->add_option("--keep", options->quantize.keep,
                   "PATTERN=FORMAT: matrices whose name matches, with * and ? as in a shell, get this format; may be "
                   "repeated, the last match counts")
      ->allow_extra_args(false);
  command->add_option("-t,--threads", options->quantize.threads, "threads to compute with (0: one per core)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command->footer(
      "docs/quantize.md says what each type does and what it costs.\n"
      "Examples:\n"
      "  metallic quantize model-f16.gguf model.gguf Q4_K_M\n"
      "  metallic quantize model-f16.gguf model.gguf IQ2_M --imatrix model.imatrix --keep 'output.weight=Q8_0'");
  command->callback([options, &action] { action = [options] { return quantize(*options); }; });
}

}  // namespace metallic::cli

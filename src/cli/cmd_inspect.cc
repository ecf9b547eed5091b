// metallic inspect: what is in a GGUF file.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "cli/architecture_table.h"
#include "cli/commands.h"
#include "cli/inspect_report.h"
#include "metallic/gguf.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string path;
  bool json = false;
  bool tensors = false;
  bool architectures = false;
};

Status print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return {};
  return fail(ErrorCode::kIo, "standard output: cannot write: {}", std::strerror(errno));
}

Status inspect(const Options& options) {
  if (options.architectures) return print(architecture_table());
  if (options.path.empty()) return fail(ErrorCode::kInvalidArgument, "give the GGUF file to inspect");
  METALLIC_ASSIGN(const GgufFile file, GgufFile::open(options.path));
  METALLIC_TRY(options.json ? write_json_report(file, print) : write_text_report(file, options.tensors, print));
  if (std::fflush(stdout) != 0) return fail(ErrorCode::kIo, "standard output: cannot write: {}", std::strerror(errno));
  return {};
}

}  // namespace

void add_inspect(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("inspect", "Show what a GGUF file holds");
  command->add_option("FILE", options->path, "the GGUF file; any part of a split model");
  command->add_flag("--tensors", options->tensors, "list every tensor");
  command->add_flag("--json", options->json, "everything, tensors and long arrays too, as one JSON object");
  command->add_flag("--architectures", options->architectures, "list the architectures that are known; needs no file");
  command->footer(
      "Examples:\n"
      "  metallic inspect model.gguf\n"
      "  metallic inspect model.gguf --tensors\n"
      "  metallic inspect model.gguf --json | jq '.metadata[\"general.name\"].value'");
  command->callback([options, &action] { action = [options] { return inspect(*options); }; });
}

}  // namespace metallic::cli

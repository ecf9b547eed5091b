// metallic inspect: what is in a GGUF file.
#include "base/error.h"
#include "cli/commands.h"

namespace metallic::cli {

void add_inspect(CLI::App& root, Action& action) {
  struct Options {
    std::string path;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("inspect", "Show what a GGUF file holds");
  command->add_option("FILE", options->path, "the GGUF file")->required();
  command->callback([options, &action] {
    action = [options]() -> Status { return fail(ErrorCode::kUnsupported, "{}: not written yet", options->path); };
  });
}

}  // namespace metallic::cli

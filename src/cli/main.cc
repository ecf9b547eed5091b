// The command `metallic`. Answers go to standard output; everything else, errors too, to standard error. Exit status:
// 0, 1 for an error, 2 for a wrong command line.
#include <fmt/core.h>

#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app("metallic: run GGUF language models", "metallic");
  app.set_version_flag("--version", "metallic 0.1.0");
  app.require_subcommand(1);
  metallic::cli::Action action;
  metallic::cli::add_commands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const metallic::Status status = action();
  if (status) return 0;
  fmt::print(stderr, "metallic: {}\n", status.error().message);
  return metallic::error_code_info(status.error().code).exit_status;
}

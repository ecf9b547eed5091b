// The command `metallic`. Answers go to standard output; everything else, errors too, to standard error. Exit status:
// 0, 1 for an error, 2 for a wrong command line.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"

namespace {

// Flags of one dash and several letters, which users of llama.cpp know; CLI11 would read them as several flags.
struct Alias {
  const char* flag;
  const char* meaning;
};
constexpr Alias kAliases[] = {{"-sys", "--system-prompt"}};

// Flags of `run` whose value is any text, also one that looks like a flag.
constexpr Alias kTextFlags[] = {{"-p", "--prompt"},
                                {"--prompt", "--prompt"},
                                {"--system-prompt", "--system-prompt"},
                                {"-r", "--stop"},
                                {"--stop", "--stop"}};

std::vector<std::string> normalised(int argc, char** argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  for (std::string& argument : arguments)
    for (const Alias& alias : kAliases)
      if (argument == alias.flag) argument = alias.meaning;
  if (arguments.size() < 2 || arguments[1] != "run") return arguments;
  for (size_t i = 2; i + 1 < arguments.size(); ++i)
    for (const Alias& flag : kTextFlags)
      if (arguments[i] == flag.flag) {
        arguments[i] = std::string(flag.meaning) + "=" + arguments[i + 1];
        arguments.erase(arguments.begin() + ptrdiff_t(i) + 1);
        break;
      }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is a failed write, with a message
  CLI::App app("metallic: run GGUF language models", "metallic");
  app.set_version_flag("--version", "metallic 0.1.0");
  app.require_subcommand(1);
  app.footer("metallic COMMAND --help explains a command and gives examples.");
  metallic::cli::Action action;
  metallic::cli::add_commands(app, action);
  const std::vector<std::string> arguments = normalised(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  try {
    app.parse(int(pointers.size()), pointers.data());
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const metallic::Status status = action();
  if (status) return 0;
  fmt::print(stderr, "metallic: {}\n", status.error().message);
  return metallic::error_code_info(status.error().code).exit_status;
}

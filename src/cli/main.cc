// The command `metallic`. Answers go to standard output; everything else, errors too, to standard error. Exit status:
// 0, 1 for an error, 2 for a wrong command line.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/read_files.h"
#include "cli/commands.h"

namespace {

// Flags of one dash and several letters, which users of llama.cpp know; CLI11 would read them as several flags.
struct Alias {
  const char* flag;
  const char* meaning;
};
constexpr Alias kAliases[] = {{"-sys", "--system-prompt"},
                              {"-ub", "--ubatch-size"},
                              {"-ctk", "--cache-type-k"},
                              {"-ctv", "--cache-type-v"},
                              {"-ngl", "--gpu-layers"}};

// Flags of `run` whose value is any text, also one that looks like a flag.
constexpr Alias kTextFlags[] = {{"-p", "--prompt"},
                                {"--prompt", "--prompt"},
                                {"--system-prompt", "--system-prompt"},
                                {"-r", "--stop"},
                                {"--stop", "--stop"}};

const Alias* find_alias(std::span<const Alias> aliases, std::string_view argument) {
  for (const Alias& alias : aliases)
    if (argument == alias.flag) return &alias;
  return nullptr;
}

std::vector<std::string> normalised(int argc, char** argv) {
  std::vector<std::string> arguments;
  const bool run = argc > 1 && std::string_view(argv[1]) == "run";
  for (int i = 0; i < argc; ++i) {
    std::string argument = argv[i];
    if (const Alias* alias = find_alias(kAliases, argument)) argument = alias->meaning;
    const Alias* text_flag = run ? find_alias(kTextFlags, argument) : nullptr;
    if (text_flag == nullptr || i + 1 == argc) {
      arguments.push_back(std::move(argument));
    } else if (const std::string_view value = argv[++i]; value.empty()) {
      arguments.insert(arguments.end(), {text_flag->meaning, ""});  // CLI11 takes "--prompt=" for a lack of a value
    } else {
      arguments.push_back(fmt::format("{}={}", text_flag->meaning, value));
    }
  }
  return arguments;
}

// A closed standard stream would lend its number to the next file that is opened, and output would land there.
void reserve_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    // Standard output is opened for reading: what is written there must be noticed as lost.
    const int opened = ::open("/dev/null", descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY);
    if (opened != -1 && opened != descriptor) ::close(opened);
  }
}

// The one line that a failure leaves on standard error.
int report(std::string_view message, int exit_status) {
  std::string line = "metallic: ";
  for (const char c : message) {
    const bool control = uint8_t(c) < 0x20 || c == 0x7f;  // of a path or an argument
    line += control ? fmt::format("\\x{:02x}", uint8_t(c)) : std::string(1, c);
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
  return exit_status;
}

// What is left to write to standard output, and whether all of it arrived.
int finish_output() {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  return written ? 0 : report("standard output: cannot write all of the output: it is full or closed", 1);
}

int report_usage(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  const std::string named = arguments.size() > 1 ? arguments[1] : "";
  const auto commands = app.get_subcommands([&](const CLI::App* command) { return command->get_name() == named; });
  if (!commands.empty()) return report(fmt::format("{}; see metallic {} --help", error.what(), named), 2);
  if (named.empty() || named[0] == '-') return report(fmt::format("{}; see metallic --help", error.what()), 2);
  return report(fmt::format("there is no command '{}'; metallic --help lists them", named), 2);
}

int run_command_line(int argc, char** argv) {
  CLI::App app("metallic: run GGUF language models", "metallic");
  app.set_version_flag("--version", "metallic 0.1.0");
  app.require_subcommand(1);
  app.footer("metallic COMMAND --help explains a command and gives examples.\nExample:\n  metallic run --help");
  metallic::cli::Action action;
  metallic::cli::add_commands(app, action);
  const std::vector<std::string> arguments = normalised(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  try {
    app.parse(int(pointers.size()), pointers.data());
  } catch (const CLI::Success& request) {  // --help or --version
    app.exit(request);
    return finish_output();
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error, arguments);
  }
  const metallic::Status status = action();
  if (status) return finish_output();
  return report(status.error().message, metallic::error_code_info(status.error().code).exit_status);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away is a failed write, with a message
  reserve_standard_streams();
  const metallic::KeepReadFiles kept;
  try {
    return run_command_line(argc, argv);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {  // of a library; ours are values
    return report(error.what(), 1);
  }
}

// metallic verify: is this model file sound?
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "cli/commands.h"
#include "engine/verify.h"

namespace metallic::cli {
namespace {

struct Options {
  std::string path;
  VerifyOptions verify;
  bool json = false;
};

constexpr size_t kLongestDetail = 500;

std::string text_report(const VerifyReport& report) {
  std::string text;
  for (const VerifyCheck& check : report.checks) {
    text += fmt::format("{:<14}{}\n", check.name, check_result_name(check.result));
    for (const std::string& detail : check.details) text += fmt::format("    {}\n", detail);
  }
  text += fmt::format("{}: {} ({:.2f} s)\n", printable(report.path, kLongestDetail),
                      report.sound() ? "sound" : "not sound", report.seconds);
  return text;
}

std::string json_report(const VerifyReport& report) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const VerifyCheck& check : report.checks)
    checks.push_back({{"name", check.name}, {"result", check_result_name(check.result)}, {"details", check.details}});
  const nlohmann::ordered_json object = {
      {"path", report.path}, {"sound", report.sound()}, {"seconds", report.seconds}, {"checks", checks}};
  return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Status verify(const Options& options) {
  const VerifyReport report = verify_file(options.path, options.verify);
  const std::string text = options.json ? json_report(report) : text_report(report);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return fail(ErrorCode::kIo, "standard output: cannot write: {}", std::strerror(errno));
  if (report.sound()) return {};
  for (const VerifyCheck& check : report.checks)
    if (check.result == CheckResult::kFailed)
      return fail(ErrorCode::kCorrupt, "{}: not sound; {}: {}", options.path, check.name,
                  check.details.empty() ? "failed" : check.details.front());
  return {};
}

}  // namespace

void add_verify(CLI::App& root, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("verify", "Check that a GGUF file is sound");
  command->add_option("FILE", options->path, "the GGUF file; any part of a split model")->required();
  command->add_flag("--deep", options->verify.deep,
                    "also dequantise every tensor and compare with the reference backend");
  command->add_flag("--json", options->json, "the report as JSON");
  command->add_option("-t,--threads", options->verify.threads, "threads to scan with (0: one per core)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command->footer(
      "The exit status is 0 if the file is sound and 1 if it is not. docs/verify.md says what is checked.\n"
      "Examples:\n"
      "  metallic verify model.gguf\n"
      "  metallic verify model.gguf --deep --json | jq .sound");
  command->callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace metallic::cli

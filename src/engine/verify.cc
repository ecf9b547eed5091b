#include "engine/verify.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/verify_checks.h"
#include "model/mlp.h"

namespace metallic {
namespace {

constexpr size_t kMostDetails = 20;

VerifyCheck failed(std::string name, const Error& error) {
  return {std::move(name), CheckResult::kFailed, {error.message}};
}
VerifyCheck skipped(std::string name, std::string why) {
  return {std::move(name), CheckResult::kSkipped, {std::move(why)}};
}

// Required keys and tensors, and what needs a model that could be loaded.
void check_model(const GgufFile& file, const VerifyOptions& options, std::vector<VerifyCheck>& checks) {
  const auto backend = open_backend("cpu", options.threads);
  if (!backend) return checks.push_back(failed("architecture", backend.error()));
  const auto arch = file.get_string("general.architecture");
  if (arch && *arch == "mlp") {
    const auto network = Mlp::load(file.path(), *backend);
    if (!network) return checks.push_back(failed("architecture", network.error()));
    checks.push_back({"architecture", CheckResult::kPassed, {}});
    const auto output = network->evaluate(std::vector<float>(size_t(network->inputs()), 0.5f));
    if (!output) return checks.push_back(failed("canary", output.error()));
    const bool finite = std::ranges::all_of(*output, [](float x) { return std::isfinite(x); });
    checks.push_back({"canary", finite ? CheckResult::kPassed : CheckResult::kFailed, {}});
    if (!finite) checks.back().details.push_back("the network gives numbers that are not finite");
    return;
  }
  const auto model = Model::load(file.path(), *backend);
  if (!model) {
    checks.push_back(failed("architecture", model.error()));
    for (const char* name : {"tokenizer", "chat template", "canary"})
      checks.push_back(skipped(name, "the model could not be loaded"));
    return;
  }
  checks.push_back({"architecture", CheckResult::kPassed, {}});
  checks.push_back(check_tokenizer(**model));
  checks.push_back(check_chat_template(**model));
  checks.push_back(check_canary(file.path(), *model, options));
}

void check_all(const std::string& path, const VerifyOptions& options, std::vector<VerifyCheck>& checks) {
  const auto file = GgufFile::open(path);
  if (!file) return checks.push_back(failed("structure", file.error()));
  checks.push_back({"structure", CheckResult::kPassed, {}});
  checks.push_back(check_layout(path));
  checks.push_back(check_metadata(*file));
  ThreadPool threads(options.threads);
  checks.push_back(check_values(*file, threads));
  const bool sound_values = checks.back().result != CheckResult::kFailed;
  if (options.deep) checks.push_back(check_dequantised(*file, threads));
  if (sound_values) {
    check_model(*file, options, checks);
  } else {
    for (const char* name : {"architecture", "tokenizer", "chat template", "canary"})
      checks.push_back(skipped(name, "the values are not sound"));
  }
  if (const Status intact = file->check_intact(); !intact) checks.push_back(failed("file", intact.error()));
}

}  // namespace

const char* check_result_name(CheckResult result) {
  constexpr const char* kNames[] = {"passed", "warning", "failed", "skipped"};
  return kNames[size_t(result)];
}

bool VerifyReport::sound() const {
  return std::ranges::none_of(checks, [](const VerifyCheck& check) { return check.result == CheckResult::kFailed; });
}

const VerifyCheck* VerifyReport::find(const std::string& name) const {
  const auto found = std::ranges::find(checks, name, &VerifyCheck::name);
  return found == checks.end() ? nullptr : &*found;
}

void Findings::add(CheckResult result, std::string detail) {
  if (result == CheckResult::kFailed || result_ == CheckResult::kPassed) result_ = result;
  if (details_.size() < kMostDetails)
    details_.push_back(std::move(detail));
  else
    ++left_out_;
}

VerifyCheck Findings::finish(std::string name) && {
  if (left_out_ > 0) details_.push_back("... and " + std::to_string(left_out_) + " more");
  return {std::move(name), result_, std::move(details_)};
}

VerifyReport verify_file(const std::string& path, const VerifyOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  VerifyReport report;
  report.path = path;
  check_all(path, options, report.checks);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace metallic

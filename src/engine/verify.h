// Is this model file sound? Everything that can be told without knowing what the model was meant to be
// (docs/verify.md).
#pragma once

#include <string>
#include <vector>

#include "metallic/result.h"

namespace metallic {

// A warning is odd, but harmless or possible in a sound file. What builds on a failed check is skipped.
enum class CheckResult { kPassed, kWarning, kFailed, kSkipped };
const char* check_result_name(CheckResult result);  // "passed", ...

struct VerifyCheck {
  std::string name;  // "structure", "values", ...
  CheckResult result = CheckResult::kPassed;
  std::vector<std::string> details;  // what was found; one line each
};

struct VerifyReport {
  std::string path;
  std::vector<VerifyCheck> checks;
  double seconds = 0;

  bool sound() const;  // no check failed
  const VerifyCheck* find(const std::string& name) const;
};

struct VerifyOptions {
  bool deep = false;  // also dequantises every tensor and evaluates with the reference backend
  int threads = 0;    // 0: one for each core
};

// Always gives a report: a file that cannot even be opened has a failed check "structure".
VerifyReport verify_file(const std::string& path, const VerifyOptions& options = {});

}  // namespace metallic

// The single checks of verify.h. Each gets what earlier ones have opened and gives its finding.
#pragma once

#include <memory>

#include "base/thread_pool.h"
#include "engine/verify.h"
#include "metallic/gguf.h"
#include "model/model.h"

namespace metallic {

// Details of a check, with the worst result seen so far.
class Findings {
 public:
  void warn(std::string detail) { add(CheckResult::kWarning, std::move(detail)); }
  void failed(std::string detail) { add(CheckResult::kFailed, std::move(detail)); }
  void note(std::string detail) { details_.push_back(std::move(detail)); }
  VerifyCheck finish(std::string name) &&;

 private:
  void add(CheckResult result, std::string detail);

  CheckResult result_ = CheckResult::kPassed;
  std::vector<std::string> details_;
  size_t left_out_ = 0;
};

VerifyCheck check_layout(const std::string& path);                // data without gaps, padding of zeros
VerifyCheck check_metadata(const GgufFile& file);                 // keys that are known, values that fit together
void check_vocabulary(const GgufFile& file, Findings& findings);  // a part of that
VerifyCheck check_values(const GgufFile& file, ThreadPool& threads);
VerifyCheck check_dequantised(const GgufFile& file, ThreadPool& threads);
VerifyCheck check_tokenizer(const Model& model);
VerifyCheck check_chat_template(const Model& model);
// Evaluates a few tokens; with `deep` on the reference backend as well.
VerifyCheck check_canary(const std::string& path, const std::shared_ptr<const Model>& model,
                         const VerifyOptions& options);

}  // namespace metallic
